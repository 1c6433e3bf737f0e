// Package apierror has the errors that the sidecar answers itself. They have
// the shape of HubSpot's errors, so that HubSpot's SDKs parse them, and carry
// a Proxy-Status header (RFC 9209), so that nobody takes them for HubSpot's.
package apierror

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// SubCategory names a kind of error. It is part of the contract with the
// apps that call the sidecar.
type SubCategory string

// The kinds of errors, with the status of each.
const (
	// CallerUnauthenticated (401): no caller key, or an unknown one; or a
	// user token that is not valid, or has expired.
	CallerUnauthenticated SubCategory = "caller_unauthenticated"
	// CallerForbidden (403): the caller's policy says no.
	CallerForbidden SubCategory = "caller_forbidden"
	// UserRequired (400): the request names no user.
	UserRequired SubCategory = "user_required"
	// BadRequest (400): the request is malformed or ambiguous.
	BadRequest SubCategory = "bad_request"
	// EndpointBlocked (403): an endpoint that no caller may reach.
	EndpointBlocked SubCategory = "endpoint_blocked"
	// Frozen (403): an operator has frozen this.
	Frozen SubCategory = "frozen"
	// WebhookRefused (401): what came as a webhook is not one of HubSpot's.
	WebhookRefused SubCategory = "webhook_refused"
	// NotConnected (404): the user has no connection.
	NotConnected SubCategory = "not_connected"
	// ReauthRequired (401): HubSpot refused the user's grant for good.
	ReauthRequired SubCategory = "reauth_required"
	// RateLimited (429): the wait for quota was too long. Made by
	// [NewRateLimited].
	RateLimited SubCategory = "rate_limited"
	// TooBusy (503): the byte budget of envelopes and kept bodies is used up.
	TooBusy SubCategory = "too_busy"
	// StoreUnavailable (503): the connection is not known here and the
	// store cannot be read.
	StoreUnavailable SubCategory = "store_unavailable"
	// TokenUnavailable (503): there is no valid token and the refresh
	// failed for a reason that passes.
	TokenUnavailable SubCategory = "token_unavailable"
	// AppMisconfigured (503): HubSpot refuses the app's own credentials.
	AppMisconfigured SubCategory = "app_misconfigured"
	// UpstreamUnreachable (502): no connection to HubSpot, or a broken one.
	UpstreamUnreachable SubCategory = "upstream_unreachable"
	// UpstreamTimeout (504): HubSpot did not answer in time.
	UpstreamTimeout SubCategory = "upstream_timeout"
)

// kind is what every error of a subcategory has in common.
type kind struct {
	status int
	// proxyError is the error type of RFC 9209, 2.3.
	proxyError string
	// retryAfter is the least that a client is told to wait; 0 tells nothing.
	retryAfter time.Duration
}

// kinds has a row for every subcategory.
var kinds = map[SubCategory]kind{
	CallerUnauthenticated: {status: 401, proxyError: "http_request_denied"},
	CallerForbidden:       {status: 403, proxyError: "http_request_denied"},
	UserRequired:          {status: 400, proxyError: "http_request_error"},
	BadRequest:            {status: 400, proxyError: "http_request_error"},
	EndpointBlocked:       {status: 403, proxyError: "http_request_denied"},
	Frozen:                {status: 403, proxyError: "http_request_denied"},
	WebhookRefused:        {status: 401, proxyError: "http_request_denied"},
	NotConnected:          {status: 404, proxyError: "proxy_internal_response"},
	ReauthRequired:        {status: 401, proxyError: "proxy_internal_response"},
	RateLimited:           {status: 429, proxyError: "http_request_denied", retryAfter: time.Second},
	TooBusy:               {status: 503, proxyError: "proxy_internal_error", retryAfter: time.Second},
	StoreUnavailable:      {status: 503, proxyError: "proxy_internal_error", retryAfter: time.Second},
	TokenUnavailable:      {status: 503, proxyError: "proxy_internal_error", retryAfter: time.Second},
	AppMisconfigured:      {status: 503, proxyError: "proxy_configuration_error"},
	UpstreamUnreachable:   {status: 502, proxyError: "destination_unavailable"},
	UpstreamTimeout:       {status: 504, proxyError: "http_response_timeout"},
}

// Error is an answer of the sidecar's own. Make one with [New], [Wrap] or
// [NewRateLimited], set what else is known, and let it answer with
// [Error.ServeHTTP]. It must not be changed once it is shared. The zero value
// answers 500.
type Error struct {
	// SubCategory is the kind of error.
	SubCategory SubCategory
	// Status is the HTTP status.
	Status int
	// Message says to the caller what happened and what to do. It holds no
	// secret.
	Message string
	// Context has facts for programs, such as app and user. It is in the
	// body only, never in the text of the error.
	Context map[string][]string
	// Links has addresses that help, such as connect and reconnect.
	Links map[string]string
	// RetryAfter is how long the client is told to wait. It is sent in
	// whole seconds, rounded up; 0 sends nothing.
	RetryAfter time.Duration
	// PolicyName is the name of the limit that was hit, as HubSpot calls it.
	PolicyName string
	// ProxyError is the error type of Proxy-Status (RFC 9209, 2.3), for
	// instance dns_error or connection_refused where that is known.
	ProxyError string
	// Tries is the number of times that HubSpot was asked; 0 is not sent.
	Tries int
	// CorrelationID is a random UUID that is also in the log.
	CorrelationID string

	cause error
}

// New makes an error of a kind, with the status and the defaults of that kind.
// An unknown subcategory is a 500.
func New(sub SubCategory, message string) *Error {
	k, ok := kinds[sub]
	if !ok {
		k = kind{status: 500, proxyError: "proxy_internal_error"}
	}
	return &Error{
		SubCategory:   sub,
		Status:        k.status,
		Message:       message,
		RetryAfter:    k.retryAfter,
		ProxyError:    k.proxyError,
		CorrelationID: uuid.NewString(),
	}
}

// Wrap is New for an error with a cause. The cause is for the log and for
// [errors.Is]; the client does not see it.
func Wrap(sub SubCategory, message string, cause error) *Error {
	e := New(sub, message)
	e.cause = cause
	return e
}

// NewRateLimited makes a 429 as HubSpot's own: its SDKs look at policyName, and
// for the limit per second at the very words of the message.
func NewRateLimited(policy string, retryAfter time.Duration) *Error {
	e := New(RateLimited, "You have reached your "+strings.ToLower(policy)+" limit.")
	e.PolicyName = policy
	e.RetryAfter = max(retryAfter, e.RetryAfter)
	return e
}

// Error returns the subcategory, the message and the cause, for the log. A cause
// that the message was made of is not said again.
func (e *Error) Error() string {
	text := string(e.SubCategory) + ": " + e.Message
	if e.cause != nil && Sentence(e.cause) != e.Message {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }
