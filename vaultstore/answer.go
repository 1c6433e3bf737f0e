package vaultstore

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Texts of Vault 1.21 that tell apart what has the same status. The tests
// hold them against a real server.
const (
	textConflict      = "check-and-set parameter did not match the current version"
	textUpgrading     = "Upgrading from non-versioned to versioned data"
	textDamaged       = "could not find version data"
	textSealed        = "Vault is sealed"
	textInvalidToken  = "invalid token"
	textWrappingToken = "wrapping token is not valid or does not exist"
)

// statusError is an answer that is no success. Its text is of a fixed set,
// because Vault's own and vault/api's have paths in them.
type statusError struct{ *api.ResponseError }

func (e statusError) Error() string {
	return fmt.Sprintf("vault answered %d: %s", e.StatusCode, e.reason())
}

// errNotVault is an answer that Vault cannot have sent: a proxy's error page,
// for instance.
var errNotVault = errors.New("the answer is not vault's; is the address right?")

// statusOf returns the status of a statusError, or 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[statusError](err); ok {
		return e.StatusCode
	}
	return 0
}

// says reports an answer with the status and the text.
func says(err error, status int, text string) bool {
	e, ok := errors.AsType[statusError](err)
	return ok && e.StatusCode == status && e.says(text)
}

// isConflict reports a check-and-set that was refused. Vault has no status
// of its own for it.
func isConflict(err error) bool { return says(err, http.StatusBadRequest, textConflict) }

// isDamaged reports a record whose data Vault has lost.
func isDamaged(err error) bool { return says(err, http.StatusInternalServerError, textDamaged) }

// isOutage reports what counts as a failure of Vault.
func isOutage(err error) bool {
	if status := statusOf(err); status > 0 {
		return status >= http.StatusInternalServerError && !isDamaged(err)
	}
	return err != nil && !errors.Is(err, connection.ErrNotFound) && !errors.Is(err, errNotVault)
}

// isTemporary reports a failure that says nothing about what was asked.
func isTemporary(err error) bool {
	return isOutage(err) || statusOf(err) == http.StatusTooManyRequests
}

func (e statusError) says(text string) bool {
	return strings.Contains(strings.Join(e.Errors, "\n"), text)
}

func (e statusError) reason() string {
	switch {
	case e.says(textSealed):
		return "vault is sealed"
	case e.says(textUpgrading):
		return "the mount is still being set up"
	case isConflict(e):
		return "check-and-set did not match"
	}
	switch e.StatusCode {
	case http.StatusForbidden:
		return "permission denied"
	case http.StatusNotFound:
		return "nothing at this path; are mount and namespace right?"
	case http.StatusTooManyRequests:
		return "rate limit quota exceeded"
	case http.StatusServiceUnavailable:
		return "no active vault"
	case http.StatusRequestEntityTooLarge:
		return "the request is too large"
	}
	if e.RawError {
		return errNotVault.Error()
	}
	return strings.ToLower(http.StatusText(e.StatusCode))
}

// loginReason returns Vault's own words about a login, which has no path in
// it and helps the operator, without the credentials that were sent.
func (e statusError) loginReason(sent ...secret.Text) string {
	if e.RawError || len(e.Errors) == 0 {
		return e.reason()
	}
	text := strings.Join(strings.Fields(strings.Join(e.Errors, "; ")), " ")
	for _, s := range sent {
		if !s.IsZero() {
			text = strings.ReplaceAll(text, s.Reveal(), "[redacted]")
		}
	}
	const longest = 300
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}
