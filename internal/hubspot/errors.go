package hubspot

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
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
	// broken answers. It says nothing about the grant or the app.
	ClassTransient Class = iota
	// ClassDeadGrant means that HubSpot no longer honours the refresh
	// token: the user has to install the app again.
	ClassDeadGrant
	// ClassMisconfigured means that HubSpot does not accept the app or the
	// request. It says nothing about any grant.
	ClassMisconfigured
	// ClassBadCode means that the authorization code of an Exchange was
	// refused: used, expired, or of another request.
	ClassBadCode
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
	default:
		return "transient"
	}
}

// Words of the token endpoint's error bodies: RFC 6749 5.2 for "error",
// HubSpot's own for "status".
const (
	codeInvalidGrant       = "invalid_grant"
	codeInvalidClient      = "invalid_client"
	codeUnauthorizedClient = "unauthorized_client"
	codeAccessDenied       = "access_denied"

	statusBadRefreshToken = "BAD_REFRESH_TOKEN"
	statusBadHub          = "BAD_HUB"
	statusBadClientID     = "BAD_CLIENT_ID"
	statusBadClientSecret = "BAD_CLIENT_SECRET"
	statusBadClientPrefix = "BAD_CLIENT_"
	statusBadRedirectURI  = "BAD_REDIRECT_URI"

	statusBadAuthCode      = "BAD_AUTH_CODE"
	statusExpiredAuthCode  = "EXPIRED_AUTH_CODE"
	statusMismatchRedirect = "MISMATCH_REDIRECT_URI_AUTH_CODE"
	statusBadCodeVerifier  = "BAD_CODE_VERIFIER"
)

// TokenError is a refusal of the token endpoint, or the lack of an answer.
// Its text holds nothing that came from the other side but words of a fixed
// shape, so it may be logged.
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
	// RetryAfter is how long HubSpot asked to wait; 0 if it did not.
	RetryAfter time.Duration

	detail string // our own words
	cause  error  // a transport or context error
}

// Error says what HubSpot answered in its own words, where these are safe.
func (e *TokenError) Error() string {
	parts := make([]string, 0, 4)
	if e.HTTPStatus != 0 {
		parts = append(parts, "HTTP "+strconv.Itoa(e.HTTPStatus))
	}
	for _, part := range []string{e.Code, e.Status, e.detail} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "no answer")
	}
	return fmt.Sprintf("calling HubSpot's token endpoint: %s (%s)", strings.Join(parts, ", "), e.Class)
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
		return c.refusal(op, re)
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

var (
	codeShape   = regexp.MustCompile(`^[a-z][a-z_]{1,47}$`)
	statusShape = regexp.MustCompile(`^[A-Z][A-Z_]{1,47}$`)
)

func (c *Client) refusal(op operation, re *oauth2.RetrieveError) error {
	var body struct {
		Error  any `json:"error"`
		Status any `json:"status"`
	}
	// A body that is not JSON leaves both empty, and the HTTP status decides.
	_ = json.Unmarshal(re.Body, &body)
	te := &TokenError{
		HTTPStatus: re.Response.StatusCode,
		Code:       word(body.Error, codeShape),
		Status:     word(body.Status, statusShape),
		RetryAfter: retryAfter(re.Response.Header, c.now()),
	}
	te.Class = classOf(op, te)
	return te
}

func word(v any, shape *regexp.Regexp) string {
	s, _ := v.(string)
	if !shape.MatchString(s) {
		return ""
	}
	return s
}

// classOf is the table of failure classes. What speaks against the app wins
// over what speaks against the grant: forgetting a good grant costs a
// customer, an alarm too many costs a look.
func classOf(op operation, te *TokenError) Class {
	switch {
	case transientStatus(te.HTTPStatus):
		return ClassTransient
	case refusesApp(te):
		return ClassMisconfigured
	case op == opExchange && refusesCode(te):
		return ClassBadCode
	case op != opExchange && refusesGrant(te):
		return ClassDeadGrant
	default:
		return ClassMisconfigured
	}
}

func refusesApp(te *TokenError) bool {
	return te.Code == codeInvalidClient || te.Code == codeUnauthorizedClient ||
		te.Status == statusBadRedirectURI || strings.HasPrefix(te.Status, statusBadClientPrefix)
}

func refusesGrant(te *TokenError) bool {
	return te.Code == codeInvalidGrant || te.Code == codeAccessDenied ||
		te.Status == statusBadRefreshToken || te.Status == statusBadHub
}

func refusesCode(te *TokenError) bool {
	switch te.Status {
	case statusBadAuthCode, statusExpiredAuthCode, statusMismatchRedirect, statusBadCodeVerifier:
		return true
	}
	return refusesGrant(te)
}

// transientStatus holds the answers that speak neither of the app nor of a
// grant: everything that is not a plain 4xx, and those 4xx that ask to come
// back (423 and 477 are HubSpot's lock and data-centre migration). A
// permanent redirect means that the endpoint is set wrongly.
func transientStatus(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusPermanentRedirect:
		return false
	case http.StatusRequestTimeout, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests, 477:
		return true
	}
	return status < 400 || status > 499
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
