package apierror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// body is the JSON of an error: HubSpot's fields, in the order in which they
// are documented.
type body struct {
	Status        string              `json:"status"`
	Category      string              `json:"category"`
	SubCategory   SubCategory         `json:"subCategory"`
	Message       string              `json:"message"`
	CorrelationID string              `json:"correlationId"`
	Context       map[string][]string `json:"context,omitempty"`
	Links         map[string]string   `json:"links,omitempty"`
	ErrorType     string              `json:"errorType,omitempty"`
	PolicyName    string              `json:"policyName,omitempty"`
}

// ServeHTTP writes the error as the whole answer to r. Headers that describe
// another body are taken out. Nothing may have been written before.
func (e *Error) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content := e.encode()
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Trailer"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/json;charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(content)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Proxy-Status", e.proxyStatus())
	if e.RetryAfter > 0 {
		h.Set("Retry-After", wholeSeconds(e.RetryAfter))
	}
	if e.SubCategory == CallerUnauthenticated {
		// RFC 9110, 11.6.1: one challenge for each scheme that is accepted.
		h["Www-Authenticate"] = []string{
			`Bearer realm="caddy-hubspot"`,
			`Basic realm="caddy-hubspot", charset="UTF-8"`,
		}
	}
	w.WriteHeader(cmp.Or(e.Status, http.StatusInternalServerError))
	if r.Method == http.MethodHead {
		return
	}
	// A client that is gone cannot be told.
	_, _ = w.Write(content)
}

func (e *Error) encode() []byte {
	b := body{
		Status:        "error",
		Category:      "SIDECAR",
		SubCategory:   e.SubCategory,
		Message:       e.Message,
		CorrelationID: e.CorrelationID,
		Context:       e.Context,
		Links:         e.Links,
		PolicyName:    e.PolicyName,
	}
	if e.SubCategory == RateLimited {
		b.ErrorType = "RATE_LIMIT"
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	// Links are to be read by people too; nosniff keeps the body from being
	// taken for HTML.
	encoder.SetEscapeHTML(false)
	// Strings, slices and maps of them always encode.
	_ = encoder.Encode(b)
	return out.Bytes()
}

// proxyStatus returns a list of one item: a structured field of RFC 9209, 2.
func (e *Error) proxyStatus() string {
	details := string(e.SubCategory)
	if e.Tries > 0 {
		details += "; tries=" + strconv.Itoa(e.Tries)
	}
	proxyError := cmp.Or(e.ProxyError, "proxy_internal_error")
	return "caddy-hubspot; error=" + proxyError + "; details=" + quote(details)
}

// quote makes a string of RFC 8941, 3.3.3, which is printable ASCII. Other
// characters become question marks.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}
