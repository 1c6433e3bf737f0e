package sealing

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Errors of [Sealer]. None says anything about the content of a text.
var (
	// ErrMalformed means that a text is none that the app's secrets sealed
	// for this use: garbage, altered, or cut.
	ErrMalformed = errors.New("the sealed text is not valid")
	// ErrWrongApp means that a text is marked as another app's.
	ErrWrongApp = errors.New("the sealed text belongs to another app")
	// ErrTooLong means that the content does not fit.
	ErrTooLong = errors.New("the content is too long to be sealed")
)

// keySize is that of the ciphers.
const keySize = 32

// Sealer seals and opens the texts of one use of one app. Make one with
// [NewSealer] and keep it: that derives the keys. It is safe for concurrent
// use.
type Sealer struct {
	use    Use
	app    string
	header []byte
	// authenticated is the header and the app's name.
	authenticated []byte
	keys          []key // the first seals, all open
}

// key is what was derived from a client secret.
type key struct {
	secret secret.Text
	aead   cipher.AEAD
}

// NewSealer derives keys for app from its client secrets. The first secret
// seals and all open, so that what was sealed before a secret was rotated is
// opened after. Empty secrets are left out; at least one must not be.
func NewSealer(use Use, app string, secrets ...secret.Text) (*Sealer, error) {
	if app == "" {
		return nil, errors.New("app name is empty")
	}
	s := &Sealer{use: use, app: strings.ToLower(app)}
	tag := use.Tag(s.app)
	s.header = append([]byte(use.Magic), tag[:]...)
	s.authenticated = append(bytes.Clone(s.header), s.app...)
	for _, secret := range secrets {
		if secret.IsZero() {
			continue
		}
		derived, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, use.Label, keySize)
		if err != nil {
			return nil, fmt.Errorf("deriving key: %w", err)
		}
		aead, err := use.Cipher(derived)
		if err != nil {
			return nil, fmt.Errorf("making cipher: %w", err)
		}
		s.keys = append(s.keys, key{secret, aead})
	}
	if len(s.keys) == 0 {
		return nil, errors.New("there is no client secret")
	}
	return s, nil
}

// App returns the app's name in lower case.
func (s *Sealer) App() string { return s.app }

// Seal returns plain as unpadded base64url, or [ErrTooLong].
func (s *Sealer) Seal(plain []byte) (string, error) {
	aead := s.keys[0].aead
	start := headerSize + aead.NonceSize()
	box := make([]byte, start, start+len(plain)+aead.Overhead())
	copy(box, s.header)
	nonce := box[headerSize:]
	rand.Read(nonce) // never fails
	box = aead.Seal(box, nonce, plain, s.authenticated)
	if encoding.EncodedLen(len(box)) > s.use.MaxLength {
		return "", ErrTooLong
	}
	return encoding.EncodeToString(box), nil
}

// Open returns what Seal was given. The error is [ErrMalformed] or
// [ErrWrongApp].
func (s *Sealer) Open(sealed string) ([]byte, error) {
	plain, _, err := s.OpenBy(sealed)
	return plain, err
}

// OpenBy is Open, and tells by which client secret.
func (s *Sealer) OpenBy(sealed string) ([]byte, secret.Text, error) {
	// encoding/base64 skips line breaks, which no sealed text has.
	if len(sealed) > s.use.MaxLength || strings.ContainsAny(sealed, "\r\n") {
		return nil, secret.Text{}, ErrMalformed
	}
	box, err := encoding.DecodeString(sealed)
	if err != nil || len(box) < headerSize || string(box[:magicSize]) != s.use.Magic {
		return nil, secret.Text{}, ErrMalformed
	}
	if !bytes.Equal(box[:headerSize], s.header) {
		return nil, secret.Text{}, ErrWrongApp
	}
	for _, key := range s.keys {
		if plain, ok := s.decrypt(key.aead, box[headerSize:]); ok {
			return plain, key.secret, nil
		}
	}
	return nil, secret.Text{}, ErrMalformed
}

func (s *Sealer) decrypt(aead cipher.AEAD, box []byte) (plain []byte, ok bool) {
	size := aead.NonceSize()
	if len(box) < size {
		return nil, false
	}
	plain, err := aead.Open(nil, box[:size], box[size:], s.authenticated)
	return plain, err == nil
}

// Encode returns v as JSON to be sealed.
func Encode(v any) ([]byte, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false) // an & in an address would become six bytes
	if err := encoder.Encode(v); err != nil {
		return nil, errors.New("it cannot be encoded")
	}
	return plain.Bytes(), nil
}

// Decode reads what Encode returned. It refuses fields that v does not have:
// one that a newer version adds may be a restriction.
func Decode(plain []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v)
}

// NotID reports whether a rune is none of those that the id of a sealed text
// consists of: ASCII letters, digits, - and _.
func NotID(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && !(r >= '0' && r <= '9') && r != '-' && r != '_'
}
