package hubspot

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/oauth2"
)

// Class is what a refusal of the token endpoint means for the connection.
type Class int

const (
	// ClassTransient is a fault that time may cure: 429, 5xx, timeouts,
	// broken answers, and refusals that are not HubSpot's (see
	// [TokenError.InBetween]). It says nothing about the grant or the app.
	ClassTransient Class = iota
	// ClassDeadGrant means that HubSpot no longer honours the refresh
	// token: the user has to install the app again.
	ClassDeadGrant
	// ClassMisconfigured means that HubSpot does not accept the app's own
	// credentials or its redirect URI, and says so in these words. It says
	// nothing about any grant.
	ClassMisconfigured
	// ClassBadCode means that the authorization code of an Exchange was
	// refused: used, expired, or of another request.
	ClassBadCode
	// ClassConnection means that HubSpot refuses this one request in words
	// that speak neither of the app nor of a dead grant: an account that is
	// looked for in the wrong data centre, say. It is the trouble of this
	// connection alone, for as long as others are well.
	ClassConnection
)

// String returns a word for logs and metrics.
func (c Class) String() string {
	switch c {
	case ClassDeadGrant:
		return "dead_grant"
	case ClassMisconfigured:
		return "misconfigured"
	case ClassBadCode:
		return "bad_code"
	case ClassConnection:
		return "connection"
	default:
		return "transient"
	}
}

// TokenError is a refusal of the token endpoint, or the lack of an answer.
// Its text holds nothing that came from the other side but words of a fixed
// shape and, for a [ClassConnection], a cleaned message, so it may be logged.
type TokenError struct {
	Class Class
	// HTTPStatus is that of the answer; 0 if there was none.
	HTTPStatus int
	// Code is the "error" of the body (RFC 6749 5.2), if it has the shape
	// of one: lower-case letters and underscores.
	Code string
	// Status is HubSpot's "status" of the body, if it has the shape of one:
	// upper-case letters and underscores.
	Status string
	// Category is HubSpot's "category" of the body, in the same shape.
	Category string
	// Hublet is HubSpot's "correctHublet": the data centre in which it says
	// the account is, as in eu1.
	Hublet string
	// Message is what a refusal of [ClassConnection] said, as plain ASCII of
	// some 200 bytes at most, with "***" in place of everything that could
	// be a token or a secret. It is empty for other classes.
	Message string
	// InBetween says that the refusal has none of HubSpot's or OAuth's words:
	// it comes from something in between, HubSpot's edge or an egress proxy.
	InBetween bool
	// Migrating says that HubSpot is moving the account to another data
	// centre, which passes.
	Migrating bool
	// RetryAfter is how long HubSpot asked to wait; 0 if it did not.
	RetryAfter time.Duration

	detail string // our own words
	cause  error  // a transport or context error
}

// Error says what HubSpot answered in its own words, where these are safe.
func (e *TokenError) Error() string {
	parts := make([]string, 0, 7)
	if e.HTTPStatus != 0 {
		parts = append(parts, "HTTP "+strconv.Itoa(e.HTTPStatus))
	}
	for _, part := range []string{e.Code, e.Status, e.Category, e.detail} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if e.Hublet != "" {
		parts = append(parts, "correctHublet "+e.Hublet)
	}
	if e.Message != "" {
		parts = append(parts, strconv.Quote(e.Message))
	}
	if len(parts) == 0 {
		parts = append(parts, "no answer")
	}
	return fmt.Sprintf("calling HubSpot's token endpoint: %s (%s)", strings.Join(parts, ", "), e.Class)
}

// Reason names the refusal in one word of ASCII letters, digits and
// underscores: HubSpot's own, where there is one. It is for logs and stored
// reasons; as HubSpot can make up new words, it is no label for a metric.
func (e *TokenError) Reason() string {
	switch {
	case e.InBetween:
		return "in_between"
	case e.Migrating:
		return "account_migrating"
	case e.Hublet != "" || e.HTTPStatus == statusWrongHublet:
		return "wrong_hublet"
	case e.HTTPStatus == 0 && e.Class == ClassTransient:
		return "no_answer"
	}
	return cmp.Or(e.Status, e.Code, e.Category, e.Class.String())
}

// Unwrap returns the transport or context error behind e, or nil. It is for
// errors.Is and errors.As: unlike e, its text may quote the other side.
func (e *TokenError) Unwrap() error { return e.cause }

// Classify returns the class of a [TokenError] anywhere in err's chain. Any
// other error is transient.
func Classify(err error) Class {
	if te, ok := errors.AsType[*TokenError](err); ok {
		return te.Class
	}
	return ClassTransient
}

func misconfigured(detail string) error {
	return &TokenError{Class: ClassMisconfigured, detail: detail}
}

func brokenAnswer(detail string) error {
	return &TokenError{Class: ClassTransient, HTTPStatus: http.StatusOK, detail: detail}
}

// tokenError turns what x/oauth2 or net/http returned into a TokenError.
func (c *Client) tokenError(ctx context.Context, op operation, call *call, err error) error {
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return c.refusal(op, re, call.sent)
	}
	te := &TokenError{Class: ClassTransient, HTTPStatus: call.status}
	switch {
	case ctx.Err() != nil:
		te.cause = ctx.Err()
		te.detail = describeTransport(te.cause)
	case call.status == 0:
		te.cause = err
		te.detail = describeTransport(err)
	default:
		// The text of such an error may quote the body.
		te.detail = "the answer is cut short, not JSON, or has no access_token"
	}
	return te
}

// describeTransport names a fault in our own words, because net/http quotes
// the other side's bytes in some of its errors.
func describeTransport(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case isType[*net.DNSError](err):
		return "host name cannot be resolved"
	case isType[*tls.CertificateVerificationError](err):
		return "TLS certificate cannot be verified"
	default:
		return "connection failed"
	}
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// maxRetryAfter bounds what is believed: HubSpot speaks of up to 24 hours
// for a 477.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header in both its forms (RFC 9110 10.2.3). A date is
// taken relative to the answer's own Date, so that no clock here matters.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	// Of a number too large, ParseUint returns the largest there is.
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return min(max(until.Sub(now), 0), maxRetryAfter)
}
