package hubspot

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Usage is what HubSpot says of a burst limit in the headers of an answer:
// of Max requests in Per, Remaining are left. The zero value says nothing.
type Usage struct {
	Max       int
	Remaining int
	Per       time.Duration
}

// Headers of HubSpot's burst limit, in Go's canonical spelling.
const (
	headerMax       = "X-Hubspot-Ratelimit-Max"
	headerRemaining = "X-Hubspot-Ratelimit-Remaining"
	headerInterval  = "X-Hubspot-Ratelimit-Interval-Milliseconds"
)

// Bounds of what is believed of a Usage.
const (
	maxUsage   = 1_000_000
	maxUsedPer = 24 * time.Hour
)

// ReadUsage reads the headers of an answer. Incomplete or unlikely ones count
// as none.
func ReadUsage(header http.Header) Usage {
	limit, ok := headerNumber(header, headerMax)
	if !ok || limit < 1 || limit > maxUsage {
		return Usage{}
	}
	remaining, ok := headerNumber(header, headerRemaining)
	if !ok || remaining < 0 || remaining > limit {
		return Usage{}
	}
	interval, ok := headerNumber(header, headerInterval)
	if !ok || interval < 1 || interval > int(maxUsedPer/time.Millisecond) {
		return Usage{}
	}
	return Usage{Max: limit, Remaining: remaining, Per: time.Duration(interval) * time.Millisecond}
}

func headerNumber(header http.Header, name string) (int, bool) {
	values := header[name]
	if len(values) != 1 {
		return 0, false
	}
	n, err := strconv.Atoi(values[0])
	return n, err == nil
}

// Limited is what HubSpot says in a refusal for the sake of a limit.
type Limited struct {
	// Policy is the name of the limit, such as TEN_SECONDLY_ROLLING; empty
	// if HubSpot did not say.
	Policy string
	// RetryAfter is how long HubSpot asked to wait; 0 if it did not.
	RetryAfter time.Duration
}

// Daily reports whether it was the daily limit.
func (l Limited) Daily() bool { return l.Policy == PolicyDaily }

// ReadLimited reads a refusal. ok is false if the answer is none. HubSpot
// sends 429 in two shapes, one with errorType and policyName, and one for
// search with category and without a policy, which also comes as a 500: so
// the status decides first, then policyName, then the message. body is the
// decoded body, or its beginning.
func ReadLimited(status int, header http.Header, body []byte) (limited Limited, ok bool) {
	if status != http.StatusTooManyRequests && status != http.StatusInternalServerError {
		return Limited{}, false
	}
	var answer struct {
		Message    string `json:"message"`
		ErrorType  string `json:"errorType"`
		Category   string `json:"category"`
		PolicyName string `json:"policyName"`
	}
	// What is not JSON, such as a page of HubSpot's edge, leaves this empty.
	_ = json.Unmarshal(body, &answer)
	if status == http.StatusInternalServerError && answer.ErrorType != "RATE_LIMIT" && answer.Category != "RATE_LIMITS" {
		return Limited{}, false
	}
	limited.Policy = strings.ToUpper(answer.PolicyName)
	if limited.Policy == "" {
		limited.Policy = policyOf(answer.Message)
	}
	limited.RetryAfter, _ = ReadRetryAfter(header)
	return limited, true
}

// policyOf finds the policy in "You have reached your secondly limit."
func policyOf(message string) string {
	message = strings.ToLower(message)
	for _, policy := range []string{PolicyTenSecondlyRolling, PolicySecondly, PolicyDaily} {
		if strings.Contains(message, " "+strings.ToLower(policy)+" ") {
			return policy
		}
	}
	return ""
}

// ReadRetryAfter returns how long an answer asks to wait: Retry-After-Ms, in
// milliseconds, or Retry-After in seconds or as a date (RFC 9110, 10.2.3). A
// date is taken relative to the answer's own Date, so that no clock here
// matters. ok is false if the answer asks nothing, or nothing that can be
// understood.
func ReadRetryAfter(header http.Header) (wait time.Duration, ok bool) {
	if wait, ok = span(header.Get("Retry-After-Ms"), time.Millisecond); ok {
		return wait, true
	}
	value := header.Get("Retry-After")
	if wait, ok = span(value, time.Second); ok {
		return wait, true
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0, false
	}
	return min(max(until.Sub(date), 0), maxRetryAfter), true
}

// span reads a number of units that is not negative.
func span(value string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || math.IsNaN(n) || n < 0 {
		return 0, false
	}
	if n >= float64(maxRetryAfter/unit) {
		return maxRetryAfter, true
	}
	return time.Duration(n * float64(unit)), true
}
