package hubspot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"golang.org/x/oauth2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

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

// HTTP statuses of HubSpot's own making.
const (
	// statusMigrating: the account is on its way to another data centre
	// (HubSpot's developer docs, "Other error status codes").
	statusMigrating = 477
	// statusWrongHublet: the account is not in the data centre that was
	// asked (seen in production, with correctHublet in the body).
	statusWrongHublet = 488
)

var (
	codeShape    = regexp.MustCompile(`^[a-z][a-z_]{1,47}$`)
	statusShape  = regexp.MustCompile(`^[A-Z][A-Z_]{1,47}$`)
	hubletShape  = regexp.MustCompile(`^[a-z]{2}[0-9]{1,3}$`)
	anyTextShape = regexp.MustCompile(`\S`)
)

// refusalBody is an error body of the token endpoint: RFC 6749 5.2, HubSpot's
// own, or HubSpot's general API shape. The types are not to be relied on.
type refusalBody struct {
	Error         any `json:"error"`
	Description   any `json:"error_description"`
	Status        any `json:"status"`
	Message       any `json:"message"`
	Category      any `json:"category"`
	CorrectHublet any `json:"correctHublet"`

	// object is set for a JSON object with anything in it, whatever its words:
	// HubSpot's token endpoint answers with nothing else. A gateway may, too;
	// then many connections have the same trouble, which has an alarm.
	object bool
}

func (b refusalBody) text() string {
	return cmp.Or(word(b.Message, anyTextShape), word(b.Description, anyTextShape))
}

// refusal turns an answer that is no grant into a TokenError. sent is what
// the request carried that no text may show.
func (c *Client) refusal(op operation, re *oauth2.RetrieveError, sent []secret.Text) error {
	var body refusalBody
	// A body that is not JSON leaves all empty, and the HTTP status decides.
	body.object = json.Unmarshal(re.Body, &body) == nil && len(bytes.TrimSpace(re.Body)) > len("{}")
	te := &TokenError{
		HTTPStatus: re.Response.StatusCode,
		Code:       word(body.Error, codeShape),
		Status:     word(body.Status, statusShape),
		Category:   word(body.Category, statusShape),
		Hublet:     word(body.CorrectHublet, hubletShape),
		RetryAfter: retryAfter(re.Response.Header, c.now()),
	}
	te.judge(op, body)
	if te.Class == ClassConnection {
		te.Message = cleanMessage(body.text(), sent)
	}
	return te
}

func word(v any, shape *regexp.Regexp) string {
	s, _ := v.(string)
	if !shape.MatchString(s) {
		return ""
	}
	return s
}

// judge is the table of failure classes. What speaks against the app wins
// over what speaks against the grant: forgetting a good grant costs a
// customer, an alarm too many costs a look. What is not understood speaks
// against neither.
func (te *TokenError) judge(op operation, body refusalBody) {
	switch {
	case te.HTTPStatus/100 == 3, te.HTTPStatus == http.StatusProxyAuthRequired:
		te.inBetween()
	case te.HTTPStatus == statusMigrating, speaksOfMigration(te.HTTPStatus, body):
		te.Class, te.Migrating = ClassTransient, true
		te.detail = "HubSpot is moving the account to another data centre"
	case transientStatus(te.HTTPStatus):
		te.Class = ClassTransient
	case refusesApp(te):
		te.Class = ClassMisconfigured
	case te.HTTPStatus == statusWrongHublet, te.Hublet != "":
		te.Class = ClassConnection
	case op == opExchange && refusesCode(te):
		te.Class = ClassBadCode
	case op != opExchange && op != opClientCredentials && refusesGrant(te):
		te.Class = ClassDeadGrant
	case body.object:
		te.Class = ClassConnection
	default:
		te.inBetween()
	}
}

// inBetween is for answers that HubSpot's token endpoint does not give.
func (te *TokenError) inBetween() {
	te.Class, te.InBetween = ClassTransient, true
	te.detail = "not an answer of HubSpot's token endpoint: something in between refuses, HubSpot's edge or an egress proxy"
}

// speaksOfMigration finds "Migration in progress and the portal is not
// available for access.", which came with a 4xx (seen in production). It
// heals itself, whatever else the body says.
func speaksOfMigration(status int, body refusalBody) bool {
	return status/100 == 4 && strings.Contains(strings.ToLower(body.text()), "migration in progress")
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
// back (423 is HubSpot's lock).
func transientStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status < 400 || status > 499
}
