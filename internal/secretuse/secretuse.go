// Package secretuse keeps for what an app's client secrets were last needed, so
// that an operator who rotates one knows when the old one can go.
package secretuse

import (
	"maps"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Purpose is what a client secret is needed for.
type Purpose string

// The purposes. HubSpot has accepted the secret for the first five; what the
// others are of was sealed or signed with it.
const (
	// Refresh is getting a new access token.
	Refresh Purpose = "refresh"
	// CodeExchange is the end of an install.
	CodeExchange Purpose = "code_exchange"
	// Revoke is the end of a grant.
	Revoke Purpose = "revoke"
	// AppToken is getting a token of the app itself.
	AppToken Purpose = "app_token"
	// Introspection is asking about a token.
	Introspection Purpose = "introspection"
	// InstallState is the state of an install that came back.
	InstallState Purpose = "install_state"
	// UserToken is a token for one user.
	UserToken Purpose = "user_token"
	// Webhook is the signature of a webhook.
	Webhook Purpose = "webhook"
)

// Book has the ledgers of a process. The zero value is empty. It is safe for
// concurrent use.
type Book struct {
	mu      sync.Mutex
	ledgers map[string]*Ledger
}

// Of returns the ledger of an app, by its name in lower case: always the same.
func (b *Book) Of(app string) *Ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ledgers == nil {
		b.ledgers = make(map[string]*Ledger)
	}
	if b.ledgers[app] == nil {
		b.ledgers[app] = NewLedger(time.Now)
	}
	return b.ledgers[app]
}

// Ledger knows when each client secret of one app was last needed, and for
// what. It knows secrets by themselves, not by the settings that they stand in:
// they may be swapped. A nil Ledger notes nothing. It is safe for concurrent
// use.
type Ledger struct {
	now   func() time.Time
	since time.Time

	mu   sync.Mutex
	uses map[secret.Mark]map[Purpose]time.Time
}

// maxSecrets bounds the secrets that a ledger knows: more have not been in use
// within the life of a process.
const maxSecrets = 16

// NewLedger makes an empty ledger that goes by a clock.
func NewLedger(now func() time.Time) *Ledger {
	return &Ledger{now: now, since: now(), uses: make(map[secret.Mark]map[Purpose]time.Time)}
}

// Note notes that s was needed now.
func (l *Ledger) Note(s secret.Text, purpose Purpose) {
	if l == nil || s.IsZero() {
		return
	}
	mark, now := s.Mark(), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	uses := l.uses[mark]
	if uses == nil {
		if len(l.uses) >= maxSecrets {
			clear(l.uses)
		}
		uses = make(map[Purpose]time.Time)
		l.uses[mark] = uses
	}
	uses[purpose] = now
}

// Noting returns a function that notes that a secret was needed for purpose.
func (l *Ledger) Noting(purpose Purpose) func(secret.Text) {
	return func(s secret.Text) { l.Note(s, purpose) }
}

// Uses returns when s was last needed for what, which is the caller's own.
func (l *Ledger) Uses(s secret.Text) map[Purpose]time.Time {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.uses[s.Mark()])
}

// Since is when the ledger was begun; zero for nil.
func (l *Ledger) Since() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.since
}
