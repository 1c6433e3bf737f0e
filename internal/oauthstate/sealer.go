package oauthstate

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// use is what a state is sealed for. There are few installs, and AES-GCM is in
// every processor.
var use = sealing.Use{
	Label:  "caddy-hubspot install state v1",
	Magic:  "hs\x01",
	Cipher: sealing.GCM,
	// A state travels in URLs, and servers and proxies commonly refuse those
	// beyond 8 KiB.
	MaxLength: 4096,
}

// Sealer seals and opens the states of one app. Make one with [NewSealer];
// it is safe for concurrent use.
type Sealer struct {
	sealer *sealing.Sealer
	// opened is told by which secret something valid was opened; nil is nobody.
	opened func(secret.Text)
}

// NewSealer derives keys for app from its client secrets. The first secret
// seals and all open, so that a link made before a secret was rotated still
// works after. Empty secrets are left out; at least one must not be.
func NewSealer(app string, secrets ...secret.Text) (*Sealer, error) {
	sealer, err := sealing.NewSealer(use, app, secrets...)
	if err != nil {
		return nil, fmt.Errorf("making state sealer: %w", err)
	}
	return &Sealer{sealer: sealer}, nil
}

// Noting returns a Sealer that has opened told by which client secret it opens
// what is valid.
func (s *Sealer) Noting(opened func(by secret.Text)) *Sealer {
	return &Sealer{sealer: s.sealer, opened: opened}
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
	if st.App != "" && !strings.EqualFold(st.App, s.sealer.App()) {
		return "", errors.New("sealing install state: it is another app's")
	}
	if err := st.check(); err != nil {
		return "", fmt.Errorf("sealing install state: %w", err)
	}
	plain, err := sealing.Encode(payload{
		st.User, st.Verifier, st.ReturnTo, st.Nonce, st.BrowserHash, st.AllowPortalChange, st.IssuedAt.UnixMilli(), st.Flow,
	})
	if err != nil {
		return "", fmt.Errorf("sealing install state: %w", err)
	}
	sealed, err := s.sealer.Seal(plain)
	if err != nil {
		return "", errors.New("sealing install state: user identifier and return_to are too long for a URL")
	}
	return sealed, nil
}

// Open returns what Seal was given. Its errors wrap [ErrMalformed],
// [ErrExpired] or [ErrWrongApp]. With ErrExpired the state is there as well, to
// tell where its browser came from; it is good for nothing else.
func (s *Sealer) Open(sealed string, now time.Time) (State, error) {
	plain, by, err := s.sealer.OpenBy(sealed)
	switch {
	case errors.Is(err, sealing.ErrWrongApp):
		return State{}, ErrWrongApp
	case err != nil:
		return State{}, ErrMalformed
	}
	st, err := s.decode(plain)
	switch {
	case err != nil, st.IssuedAt.After(now.Add(maxSkew)):
		return State{}, ErrMalformed
	case now.Sub(st.IssuedAt) > Lifetime:
		return st, ErrExpired
	}
	if s.opened != nil {
		s.opened(by)
	}
	return st, nil
}

// decode refuses what no Seal of this version sealed.
func (s *Sealer) decode(plain []byte) (State, error) {
	var p payload
	if err := sealing.Decode(plain, &p); err != nil {
		return State{}, err
	}
	st := State{
		App: s.sealer.App(), User: p.User, Verifier: p.Verifier, ReturnTo: p.ReturnTo, Nonce: p.Nonce, BrowserHash: p.BrowserHash,
		AllowPortalChange: p.AllowPortalChange, IssuedAt: time.UnixMilli(p.IssuedAt), Flow: p.Flow,
	}
	return st, st.check()
}
