package vaultstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

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
// because Vault's own have paths in them.
type statusError struct {
	status int
	reason string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("vault answered %d: %s", e.status, e.reason)
}

// errNotVault is a body that Vault cannot have sent: a proxy's error page,
// for instance.
var errNotVault = errors.New("the answer is not vault's; is the address right?")

// texts returns the errors in the body, or false if it is not Vault's.
func (a answer) texts() ([]string, bool) {
	var body struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(a.body, &body) != nil {
		return nil, false
	}
	return body.Errors, true
}

func (a answer) says(text string) bool {
	texts, _ := a.texts()
	return strings.Contains(strings.Join(texts, "\n"), text)
}

// isConflict reports a check-and-set that was refused. Vault has no status
// of its own for it.
func (a answer) isConflict() bool {
	return a.status == http.StatusBadRequest && a.says(textConflict)
}

// isDamaged reports a record whose data Vault has lost.
func (a answer) isDamaged() bool {
	return a.status == http.StatusInternalServerError && a.says(textDamaged)
}

// isOutage reports an answer that counts as a failure of Vault.
func (a answer) isOutage() bool {
	return a.status >= http.StatusInternalServerError && !a.isDamaged()
}

// isAbsent reports Vault's "there is nothing", as against "there is no such
// mount", and a 404 of something else.
func (a answer) isAbsent() bool {
	texts, ok := a.texts()
	return a.status == http.StatusNotFound && ok && len(texts) == 0
}

// err returns nil for a success and a statusError otherwise.
func (a answer) err() error {
	if a.status < 300 {
		return nil
	}
	return &statusError{status: a.status, reason: a.reason()}
}

func (a answer) reason() string {
	switch {
	case a.says(textSealed):
		return "vault is sealed"
	case a.says(textUpgrading):
		return "the mount is still being set up"
	case a.status == http.StatusBadRequest && a.says(textConflict):
		return "check-and-set did not match"
	}
	switch a.status {
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
	if _, ok := a.texts(); !ok {
		return errNotVault.Error()
	}
	return strings.ToLower(http.StatusText(a.status))
}

// loginReason returns Vault's own words about a login, which has no path in
// it and helps the operator, without the credentials that were sent.
func (a answer) loginReason(sent ...secret.Text) string {
	texts, ok := a.texts()
	if !ok || len(texts) == 0 {
		return a.reason()
	}
	text := strings.Join(strings.Fields(strings.Join(texts, "; ")), " ")
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

// decode reads the body of a success into v.
func (a answer) decode(v any) error {
	if json.Unmarshal(a.body, v) != nil {
		return errNotVault
	}
	return nil
}
