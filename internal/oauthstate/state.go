// Package oauthstate seals what an install must remember between the link to
// HubSpot and the callback into the link's own state parameter (RFC 6749
// 10.12), so that any process that knows the app's client secret can finish
// what another began, and nobody else can read or make one.
//
// A sealed state can be opened any number of times while it lives. That it
// works once is the business of whoever stores the connection: see
// [State.Nonce].
package oauthstate

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
)

// Lifetime is how long a sealed state can be opened.
const Lifetime = 10 * time.Minute

// maxSkew is how far ahead the clock of the process that sealed a state may be.
const maxSkew = time.Minute

// Errors of [Sealer.Open]. None says anything about the state's content.
var (
	// ErrMalformed means that the text is not a state that this app's
	// secrets sealed: garbage, altered, cut, or from the future.
	ErrMalformed = errors.New("install state is not valid")
	// ErrExpired means that the state was sealed more than [Lifetime] ago.
	ErrExpired = errors.New("install state has expired")
	// ErrWrongApp means that the state is marked as another app's.
	ErrWrongApp = errors.New("install state belongs to another app")
)

// State is what an install remembers. The zero value is no state; it cannot
// be sealed. It cannot print itself, because it holds the PKCE verifier and
// the user's identifier.
type State struct {
	// App is the app's name in lower case. It may be left empty for
	// [Sealer.Seal]; it is always set by [Sealer.Open].
	App string
	// User is the vendor's identifier of the user who connects.
	User string
	// Verifier is the PKCE verifier of the request.
	Verifier string
	// ReturnTo is where the browser goes afterwards; empty for nowhere.
	ReturnTo string
	// Nonce is random and unique to this state, of letters, digits, - and
	// _. Recording it in the connection is what makes the state work once.
	Nonce string
	// BrowserHash is the base64url SHA-256 of the cookie that binds the
	// browser; empty for a link, which works in any browser.
	BrowserHash string
	// AllowPortalChange lets a reconnect land on another portal.
	AllowPortalChange bool
	// IssuedAt is when the state was made, kept to the millisecond.
	IssuedAt time.Time
	// Flow names how the install was started, so that the callback answers
	// in kind; empty for a plain link.
	Flow string
}

const redacted = "[install state]"

// Format writes a fixed text for every verb.
func (State) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON writes a fixed text.
func (State) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue gives log/slog a fixed text.
func (State) LogValue() slog.Value { return slog.StringValue(redacted) }

// check refuses a state that could not be used after opening. Its errors
// name the field, never a value.
func (st State) check() error {
	for name, required := range map[string]string{"user": st.User, "verifier": st.Verifier, "nonce": st.Nonce} {
		if required == "" {
			return fmt.Errorf("%s is empty", name)
		}
	}
	// encoding/json would replace broken UTF-8, and one user would become
	// another.
	for name, text := range map[string]string{
		"user": st.User, "verifier": st.Verifier, "return_to": st.ReturnTo, "browser hash": st.BrowserHash, "flow": st.Flow,
	} {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%s is not valid UTF-8", name)
		}
	}
	if strings.ContainsFunc(st.Nonce, sealing.NotID) {
		return errors.New("nonce must consist of letters, digits, - and _")
	}
	if st.IssuedAt.IsZero() {
		return errors.New("time of issue is not set")
	}
	return nil
}
