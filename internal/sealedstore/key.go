package sealedstore

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const keySize = 32

// Key is the 32 bytes from which a store's keys are derived, themselves and not
// their base64. It cannot print itself. The zero value is no key and is refused
// by a store. Keys are values and may be used concurrently.
type Key struct{ secret.Text }

// ParseKey reads a key of 32 bytes in base64, of the standard or the URL
// alphabet, with or without padding; space around it is ignored. Its errors
// say what is right and nothing of the key.
func ParseKey(text string) (Key, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	// encoding/base64 would skip line breaks.
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return Key{}, errors.New("encryption key must be 32 bytes in base64, as `openssl rand -base64 32` prints; this is not base64")
	}
	if len(raw) != keySize {
		return Key{}, fmt.Errorf("encryption key must be 32 bytes in base64, as `openssl rand -base64 32` prints; this has %d bytes", len(raw))
	}
	return Key{secret.New(string(raw))}, nil
}
