package access

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	// MinKeyLength is the least number of characters of a caller's key.
	MinKeyLength = 20
	// MaxKeyLength is the largest number of characters of a caller's key.
	MaxKeyLength = 512

	hashPrefix = "sha256:"
)

// digest is the SHA-256 of a key. Keys themselves are not kept.
type digest [sha256.Size]byte

// parseKey returns the digest of a configured key: a literal, or sha256:
// followed by the digest in hex. Its errors never hold the key.
func parseKey(key secret.Text) (digest, error) {
	text := key.Reveal()
	if encoded, ok := strings.CutPrefix(text, hashPrefix); ok {
		return parseHash(encoded)
	}
	switch {
	case text == "":
		return digest{}, errors.New("is empty")
	case len(text) < MinKeyLength:
		return digest{}, fmt.Errorf("has %d characters; at least %d are needed", len(text), MinKeyLength)
	case len(text) > MaxKeyLength:
		return digest{}, fmt.Errorf("has %d characters; at most %d can be used", len(text), MaxKeyLength)
	case strings.HasPrefix(text, UserTokenPrefix):
		return digest{}, errors.New("begins with " + UserTokenPrefix + ", as user tokens do; choose another")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return digest{}, errors.New("holds a space, a control or a non-ASCII character, which an Authorization header cannot carry")
	}
	return sha256.Sum256([]byte(text)), nil
}

func parseHash(encoded string) (digest, error) {
	var d digest
	raw, err := hex.DecodeString(encoded)
	if err != nil || len(raw) != len(d) {
		return digest{}, fmt.Errorf("must have %d hex digits after %s", 2*len(d), hashPrefix)
	}
	copy(d[:], raw)
	return d, nil
}
