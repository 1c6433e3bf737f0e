// Package exporting writes the connections of an app down for another system,
// sealed to a public key: whoever holds the private key can read them, and
// neither the sidecar nor who carries the file.
package exporting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
)

// ErrRecipient means that a text is no public key of age's.
var ErrRecipient = errors.New("is not a public key of age's, such as age1…, which age-keygen prints")

// Recipient is a public key (https://age-encryption.org/v1). The zero value is
// none.
type Recipient struct{ recipient age.Recipient }

// ParseRecipient reads one. Its error wraps ErrRecipient and does not repeat
// the text, which may be a private key by mistake.
func ParseRecipient(text string) (Recipient, error) {
	if !strings.HasPrefix(text, "age1") || strings.ContainsAny(text, "\r\n") {
		return Recipient{}, ErrRecipient
	}
	parsed, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(parsed) != 1 {
		return Recipient{}, ErrRecipient
	}
	return Recipient{parsed[0]}, nil
}

// Source gives the connections that are exported; [connection.Manager] is one.
type Source interface {
	EachActive(ctx context.Context, each func(connection.Record) error) error
}

// Write writes all live connections of source to w, sealed to the recipients,
// as JSON lines that an import reads. It returns how many there are. After an
// error what was written cannot be opened to its end, which age tells.
func Write(ctx context.Context, w io.Writer, source Source, recipients []Recipient) (int, error) {
	keys := make([]age.Recipient, 0, len(recipients))
	for _, r := range recipients {
		keys = append(keys, r.recipient)
	}
	sealed, err := age.Encrypt(w, keys...)
	if err != nil {
		return 0, fmt.Errorf("sealing export: %w", err)
	}
	count := 0
	err = source.EachActive(ctx, func(r connection.Record) error {
		line, err := recordOf(r).MarshalJSON()
		if err != nil {
			return fmt.Errorf("writing export: %w", err)
		}
		if _, err := sealed.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("writing export: %w", err)
		}
		count++
		return nil
	})
	if err != nil {
		return count, err
	}
	if err := sealed.Close(); err != nil {
		return count, fmt.Errorf("sealing export: %w", err)
	}
	return count, nil
}

func recordOf(r connection.Record) importfile.Record {
	out := importfile.Record{User: r.User, HubID: r.HubID, Scopes: r.Scopes}
	if r.Static {
		out.Token = r.AccessToken
		return out
	}
	out.RefreshToken, out.AccessToken = r.RefreshToken, r.AccessToken
	if !r.AccessToken.IsZero() {
		out.ExpiresAt = r.ExpiresAt
	}
	return out
}
