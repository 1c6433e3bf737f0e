package oauthstate

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// The sealed form, before base64url, is
//
//	magic (3) | app tag (9) | nonce (12) | ciphertext | tag (16)
//
// with AES-256-GCM; magic, app tag and the app's name are authenticated. The
// app tag is outside the ciphertext so that another app's state can be told
// from garbage without that app's key.
const (
	magic      = "hs\x01" // the last byte is the version of the format
	appTagSize = 9
	headerSize = len(magic) + appTagSize

	keyInfo = "caddy-hubspot install state v1"
	tagInfo = "caddy-hubspot install state v1 app tag\x00"
)

// maxSealed caps a sealed state, both ways: it travels in URLs, and servers
// and proxies commonly refuse those beyond 8 KiB.
const maxSealed = 4096

var encoding = base64.RawURLEncoding.Strict()

// Sealer seals and opens the states of one app. Make one with [NewSealer];
// it is safe for concurrent use.
type Sealer struct {
	app    string
	header []byte
	aeads  []cipher.AEAD // the first seals, all open
}

// NewSealer derives keys for app from its client secrets. The first secret
// seals and all open, so that a link made before a secret was rotated still
// works after. Empty secrets are left out; at least one must not be.
func NewSealer(app string, secrets ...secret.Text) (*Sealer, error) {
	if app == "" {
		return nil, errors.New("making state sealer: app name is empty")
	}
	s := &Sealer{app: strings.ToLower(app)}
	tag := sha256.Sum256([]byte(tagInfo + s.app))
	s.header = append([]byte(magic), tag[:appTagSize]...)
	for _, secret := range secrets {
		if secret.IsZero() {
			continue
		}
		aead, err := newAEAD(secret)
		if err != nil {
			return nil, fmt.Errorf("making state sealer: %w", err)
		}
		s.aeads = append(s.aeads, aead)
	}
	if len(s.aeads) == 0 {
		return nil, errors.New("making state sealer: there is no client secret")
	}
	return s, nil
}

func newAEAD(secret secret.Text) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, keyInfo, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// payload is what is encrypted. The app is not in it: it is authenticated.
type payload struct {
	User              string `json:"u"`
	Verifier          string `json:"v"`
	ReturnTo          string `json:"r,omitempty"`
	Nonce             string `json:"n"`
	BrowserHash       string `json:"b,omitempty"`
	AllowPortalChange bool   `json:"p,omitempty"`
	IssuedAt          int64  `json:"t"` // milliseconds
	Flow              string `json:"f,omitempty"`
}

// Seal returns st as unpadded base64url, at most 4096 characters long. Its
// errors name the field that cannot be sealed.
func (s *Sealer) Seal(st State) (string, error) {
	if st.App != "" && !strings.EqualFold(st.App, s.app) {
		return "", errors.New("sealing install state: it is another app's")
	}
	if err := st.check(); err != nil {
		return "", fmt.Errorf("sealing install state: %w", err)
	}
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false) // an & in return_to would become six bytes
	err := encoder.Encode(payload{
		st.User, st.Verifier, st.ReturnTo, st.Nonce, st.BrowserHash, st.AllowPortalChange, st.IssuedAt.UnixMilli(), st.Flow,
	})
	if err != nil {
		return "", errors.New("sealing install state: it cannot be encoded")
	}
	box := s.aeads[0].Seal(bytes.Clone(s.header), nil, plain.Bytes(), s.authenticated())
	if encoding.EncodedLen(len(box)) > maxSealed {
		return "", errors.New("sealing install state: user identifier and return_to are too long for a URL")
	}
	return encoding.EncodeToString(box), nil
}

func (s *Sealer) authenticated() []byte {
	return append(bytes.Clone(s.header), s.app...)
}

// Open returns what Seal was given. Its errors wrap [ErrMalformed],
// [ErrExpired] or [ErrWrongApp].
func (s *Sealer) Open(sealed string, now time.Time) (State, error) {
	// encoding/base64 skips line breaks, which no state of ours has.
	if len(sealed) > maxSealed || strings.ContainsAny(sealed, "\r\n") {
		return State{}, ErrMalformed
	}
	box, err := encoding.DecodeString(sealed)
	if err != nil || len(box) < headerSize || string(box[:len(magic)]) != magic {
		return State{}, ErrMalformed
	}
	if !bytes.Equal(box[:headerSize], s.header) {
		return State{}, ErrWrongApp
	}
	plain, ok := s.decrypt(box[headerSize:])
	if !ok {
		return State{}, ErrMalformed
	}
	st, err := s.decode(plain)
	switch {
	case err != nil, st.IssuedAt.After(now.Add(maxSkew)):
		return State{}, ErrMalformed
	case now.Sub(st.IssuedAt) > Lifetime:
		return State{}, ErrExpired
	}
	return st, nil
}

func (s *Sealer) decrypt(box []byte) ([]byte, bool) {
	for _, aead := range s.aeads {
		if plain, err := aead.Open(nil, nil, box, s.authenticated()); err == nil {
			return plain, true
		}
	}
	return nil, false
}

// decode refuses fields it does not know: one that a newer version adds may
// be a restriction.
func (s *Sealer) decode(plain []byte) (State, error) {
	var p payload
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return State{}, err
	}
	st := State{
		App: s.app, User: p.User, Verifier: p.Verifier, ReturnTo: p.ReturnTo, Nonce: p.Nonce, BrowserHash: p.BrowserHash,
		AllowPortalChange: p.AllowPortalChange, IssuedAt: time.UnixMilli(p.IssuedAt), Flow: p.Flow,
	}
	return st, st.check()
}
