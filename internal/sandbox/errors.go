package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Headers that the sandbox sends as HubSpot does.
const (
	headerCorrelation = "X-HubSpot-Correlation-Id"
	contentTypeJSON   = "application/json;charset=utf-8"
	scopesDocs        = "https://developers.hubspot.com/scopes"
)

// reply is an answer before it is written. Handlers make replies and write
// nothing, so that no lock is ever held while a client reads, and faults can
// cut or drop an answer that has been processed.
type reply struct {
	status int
	header http.Header
	body   []byte
	// cut breaks the connection in the middle of the body.
	cut bool
}

func (p reply) with(name, value string) reply {
	if p.header == nil {
		p.header = make(http.Header)
	}
	p.header.Set(name, value)
	return p
}

func (p reply) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.header)
	if p.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	}
	w.WriteHeader(p.status)
	if p.cut {
		_, _ = w.Write(p.body[:len(p.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(p.body)
}

// jsonReply encodes v the way HubSpot writes JSON: compact, without HTML
// escapes.
func jsonReply(status int, v any) reply {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Only types of this package are encoded; none of them can fail.
		panic(fmt.Sprintf("encoding %T: %v", v, err))
	}
	return reply{status: status, body: bytes.TrimRight(buf.Bytes(), "\n")}.with("Content-Type", contentTypeJSON)
}

// newCorrelationID makes the id that HubSpot puts in a header of every answer
// and in the body of every error.
func newCorrelationID() string { return uuid.NewString() }

// apiError is HubSpot's error body of the CRM and most other APIs. Every
// field but status, message and correlationId is optional.
type apiError struct {
	Status        string              `json:"status"`
	Message       string              `json:"message"`
	ErrorType     string              `json:"errorType,omitempty"`
	CorrelationID string              `json:"correlationId,omitempty"`
	PolicyName    string              `json:"policyName,omitempty"`
	GroupName     string              `json:"groupName,omitempty"`
	Errors        []errorDetail       `json:"errors,omitempty"`
	Context       map[string][]string `json:"context,omitempty"`
	Links         map[string]string   `json:"links,omitempty"`
	Category      string              `json:"category,omitempty"`
}

type errorDetail struct {
	Message string              `json:"message"`
	Code    string              `json:"code,omitempty"`
	Context map[string][]string `json:"context,omitempty"`
}

// reply makes an answer of the error; correlation also goes into the header.
func (e apiError) reply(status int, correlation string) reply {
	e.Status = "error"
	e.CorrelationID = correlation
	return jsonReply(status, e).with(headerCorrelation, correlation)
}

// sandboxError is an answer that HubSpot would not give: it speaks about the
// sandbox itself.
func sandboxError(status int, message string) reply {
	return apiError{Message: message, Category: "SANDBOX"}.reply(status, newCorrelationID())
}

func notFound(correlation string) reply {
	return apiError{Message: "resource not found"}.reply(http.StatusNotFound, correlation)
}

func missingAuthentication(correlation string) reply {
	return apiError{
		Message:  "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
		Category: "INVALID_AUTHENTICATION",
	}.reply(http.StatusUnauthorized, correlation)
}

// expiredAuthentication is also what HubSpot answers to a token that it
// cannot read: it takes that one's expiry to be the epoch.
func expiredAuthentication(correlation string, now, expired time.Time) reply {
	return apiError{
		Message:  "The OAuth token used to make this call expired " + ago(now.Sub(expired)) + " ago.",
		Category: "EXPIRED_AUTHENTICATION",
		Context:  map[string][]string{"expire time": {instant(expired)}},
	}.reply(http.StatusUnauthorized, correlation)
}

func missingScope(correlation, scope string) reply {
	return apiError{
		Message: "This app hasn't been granted all required scopes to make this call. Read more about required scopes here: " + scopesDocs + ".",
		Errors: []errorDetail{{
			Message: "One or more of the following scopes are required.",
			Context: map[string][]string{"requiredGranularScopes": {scope}},
		}},
		Links:    map[string]string{"scopes": scopesDocs},
		Category: "MISSING_SCOPES",
	}.reply(http.StatusForbidden, correlation)
}

func validationError(correlation, message string, details ...errorDetail) reply {
	return apiError{Message: message, Category: "VALIDATION_ERROR", Errors: details}.
		reply(http.StatusBadRequest, correlation)
}

// oauthError is the error body of the OAuth endpoints: RFC 6749's fields
// beside the older status and message. It is not the shape of apiError.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Status      string `json:"status"`
	Message     string `json:"message"`
}

// The OAuth errors, always sent with status 400. Where HubSpot's value of
// "error" is not documented, it is RFC 6749's or RFC 7636's for the case.
var (
	errBadGrantType      = newOAuthError("unsupported_grant_type", "BAD_GRANT_TYPE", "missing or unknown grant type")
	errBadClientID       = newOAuthError("invalid_client", "BAD_CLIENT_ID", "missing or unknown client id")
	errBadClientSecret   = newOAuthError("invalid_client", "BAD_CLIENT_SECRET", "missing or invalid client secret")
	errBadRedirectURI    = newOAuthError("invalid_request", "BAD_REDIRECT_URI", "missing or invalid redirect uri")
	errBadAuthCode       = newOAuthError("invalid_grant", "BAD_AUTH_CODE", "missing or unknown auth code")
	errExpiredAuthCode   = newOAuthError("invalid_grant", "EXPIRED_AUTH_CODE", "auth code is expired")
	errMismatchRedirect  = newOAuthError("invalid_grant", "MISMATCH_REDIRECT_URI_AUTH_CODE", "redirect uri does not match the one the auth code was issued for")
	errBadCodeVerifier   = newOAuthError("invalid_grant", "BAD_CODE_VERIFIER", "missing or invalid code verifier")
	errBadRefreshToken   = newOAuthError("invalid_grant", "BAD_REFRESH_TOKEN", "refresh token is invalid, expired or revoked")
	errBadHub            = newOAuthError("access_denied", "BAD_HUB", "missing or unknown hub id")
	errBadScopes         = newOAuthError("invalid_scope", "BAD_SCOPES", "missing or invalid scopes")
	errBadContentType    = newOAuthError("invalid_request", "BAD_REQUEST", "parameters must be sent in the body as application/x-www-form-urlencoded")
	errMissingTokenParam = newOAuthError("invalid_request", "BAD_REQUEST", "missing token")
)

func newOAuthError(code, status, message string) *oauthError {
	return &oauthError{Code: code, Description: message, Status: status, Message: message}
}

func (e *oauthError) reply() reply { return oauthReply(http.StatusBadRequest, e) }

// oauthReply is a JSON answer of an OAuth endpoint, never to be cached
// (RFC 6749, section 5.1).
func oauthReply(status int, v any) reply {
	return jsonReply(status, v).
		with(headerCorrelation, newCorrelationID()).
		with("Cache-Control", "no-store").with("Pragma", "no-cache")
}

// ago words a duration as HubSpot does.
func ago(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d second(s)", int64(d/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minute(s)", int64(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hour(s)", int64(d/time.Hour))
	default:
		return fmt.Sprintf("%d day(s)", int64(d/(24*time.Hour)))
	}
}

// instant writes a time as HubSpot does: UTC, milliseconds unless they are
// zero.
func instant(t time.Time) string {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05Z")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}
