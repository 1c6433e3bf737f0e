package appconfig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of a [Rate].
const (
	MaxRateCount = 1_000_000
	MinRatePer   = time.Millisecond
	MaxRatePer   = 24 * time.Hour
)

// Rate is a number of requests in a span of time. Its text, JSON and YAML form
// is "110 10s". The zero value is a rate that is not set.
type Rate struct {
	Count int
	Per   time.Duration
}

// The rates that hold where none is set: HubSpot's for apps with marketplace
// distribution.
var (
	DefaultQuota       = Rate{Count: 110, Per: 10 * time.Second}
	DefaultSearchQuota = Rate{Count: 5, Per: time.Second}
)

// ParseRate makes a rate of its two arguments in a Caddyfile, such as "110"
// and "10s".
func ParseRate(count, per string) (Rate, error) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return Rate{}, fmt.Errorf("%q is not a whole number of requests; write a rate as 110 10s", count)
	}
	d, err := time.ParseDuration(per)
	if err != nil {
		return Rate{}, fmt.Errorf("%q is not a span of time; write a rate as 110 10s", per)
	}
	r := Rate{Count: n, Per: d}
	return r, r.validate()
}

func (r Rate) validate() error {
	switch {
	case r.Count == 0:
		return errors.New("a rate of 0 would let nothing through")
	case r.Count < 0 || r.Count > MaxRateCount:
		return fmt.Errorf("the number of requests must be between 1 and %d", MaxRateCount)
	case r.Per < MinRatePer || r.Per > MaxRatePer:
		return fmt.Errorf("the span of time must be between %v and %v", MinRatePer, formatSpan(MaxRatePer))
	}
	return nil
}

// IsZero reports whether the rate is not set.
func (r Rate) IsZero() bool { return r == Rate{} }

// Or returns the rate, or fallback where it is not set.
func (r Rate) Or(fallback Rate) Rate {
	if r.IsZero() {
		return fallback
	}
	return r
}

// String returns the rate as it is written in the config.
func (r Rate) String() string { return strconv.Itoa(r.Count) + " " + formatSpan(r.Per) }

// MarshalText returns the rate as it is written in the config.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the rate as it is written in the config.
func (r *Rate) UnmarshalText(text []byte) error {
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return errors.New("a rate is a number of requests and a span of time, such as 110 10s")
	}
	parsed, err := ParseRate(fields[0], fields[1])
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// formatSpan writes 1m0s as 1m and 1h0m0s as 1h.
func formatSpan(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
