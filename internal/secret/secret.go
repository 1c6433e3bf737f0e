// Package secret has the type in which credentials travel through the
// program: access and refresh tokens, client secrets, caller keys.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every way of printing a [Text] gives.
const redacted = "[redacted]"

// Text is a string that cannot print itself. The zero value is the empty
// secret. A Text may be copied and used concurrently.
//
// The string sits behind a pointer so that fmt and encoders that reach it by
// reflection, as an unexported field of another struct, see an address only.
type Text struct {
	value *string
}

// New makes a Text of s.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{value: &s}
}

// Reveal returns the secret itself. Each call of it is a place for an
// auditor to look at: the result may go into a request to HubSpot or Vault
// and nowhere else.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.value == nil }

// Equal compares two secrets in a time that does not depend on where they
// differ.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}

// Mark tells one secret from others after the secret itself is forgotten. The
// zero Mark is that of no secret.
type Mark [sha256.Size]byte

// Mark returns the secret's SHA-256, or the zero Mark of the empty secret. It
// is for tokens, which cannot be found by trying.
func (t Text) Mark() Mark {
	if t.IsZero() {
		return Mark{}
	}
	return sha256.Sum256([]byte(t.Reveal()))
}

// String returns a fixed text instead of the secret.
func (t Text) String() string { return redacted }

// GoString returns a fixed text instead of the secret.
func (t Text) GoString() string { return redacted }

// Format writes a fixed text for every verb, %x and %#v included.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON writes a fixed text instead of the secret.
func (t Text) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText writes a fixed text instead of the secret.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue gives log/slog a fixed text instead of the secret.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }
