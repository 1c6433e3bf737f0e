package usertoken

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sealing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// MaxLength is the length of the longest token in characters: headers of 8
// KiB are the least that servers and proxies take.
const MaxLength = 4096

// use is what a token is sealed for. Programs make as many as they like, so
// the nonces are those of XChaCha20-Poly1305.
var use = sealing.Use{
	Label:     "caddy-hubspot user token v1",
	Magic:     "hu\x01",
	Cipher:    chacha20poly1305.NewX,
	MaxLength: MaxLength - len(access.UserTokenPrefix),
}

// TagOf returns the mark of the app that a token says it is for. ok is false
// for what cannot be a token.
func TagOf(token string) (tag sealing.Tag, ok bool) {
	sealed, ok := strings.CutPrefix(token, access.UserTokenPrefix)
	if !ok {
		return sealing.Tag{}, false
	}
	return use.TagOf(sealed)
}

// Tag returns the mark of an app. Names compare without regard to case.
func Tag(app string) sealing.Tag { return use.Tag(app) }

// Sealer seals and opens the tokens of one app. Make one with [NewSealer] and
// keep it: that derives the keys. It is safe for concurrent use.
type Sealer struct {
	sealer *sealing.Sealer
	// opened is told by which secret something valid was opened; nil is nobody.
	opened func(secret.Text)
}

// NewSealer derives keys for app from its client secrets. The first secret
// seals and all open, so that a token made before a secret was rotated still
// works after. Empty secrets are left out; at least one must not be.
func NewSealer(app string, secrets ...secret.Text) (*Sealer, error) {
	sealer, err := sealing.NewSealer(use, app, secrets...)
	if err != nil {
		return nil, fmt.Errorf("making token sealer: %w", err)
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
	ID        string   `json:"i"`
	Caller    string   `json:"c"`
	User      string   `json:"u"`
	Allow     []string `json:"a,omitempty"`
	Deny      []string `json:"d,omitempty"`
	IssuedAt  int64    `json:"t"` // milliseconds
	ExpiresAt int64    `json:"e"`
}

// Seal returns t as a text that can be sent as a bearer. Its errors name the
// field that cannot be sealed, or wrap [ErrTooLong].
func (s *Sealer) Seal(t Token) (secret.Text, error) {
	if t.App != "" && !strings.EqualFold(t.App, s.sealer.App()) {
		return secret.Text{}, errors.New("sealing user token: it is another app's")
	}
	if err := t.check(); err != nil {
		return secret.Text{}, fmt.Errorf("sealing user token: %w", err)
	}
	plain, err := sealing.Encode(payload{
		t.ID, t.Caller, t.User, ruleTexts(t.Allow), ruleTexts(t.Deny), t.IssuedAt.UnixMilli(), t.ExpiresAt.UnixMilli(),
	})
	if err != nil {
		return secret.Text{}, fmt.Errorf("sealing user token: %w", err)
	}
	sealed, err := s.sealer.Seal(plain)
	if err != nil {
		return secret.Text{}, fmt.Errorf("sealing user token: %w", ErrTooLong)
	}
	return secret.New(access.UserTokenPrefix + sealed), nil
}

func ruleTexts(rules []access.Rule) []string {
	texts := make([]string, 0, len(rules))
	for _, rule := range rules {
		texts = append(texts, rule.String())
	}
	return texts
}

// Open returns what Seal was given. The error is [ErrMalformed] or
// [ErrExpired].
func (s *Sealer) Open(token string, now time.Time) (Token, error) {
	sealed, ok := strings.CutPrefix(token, access.UserTokenPrefix)
	if !ok {
		return Token{}, ErrMalformed
	}
	plain, by, err := s.sealer.OpenBy(sealed)
	if err != nil {
		return Token{}, ErrMalformed
	}
	t, err := s.decode(plain)
	switch {
	case err != nil, t.IssuedAt.After(now.Add(maxSkew)):
		return Token{}, ErrMalformed
	case !now.Before(t.ExpiresAt):
		return Token{}, ErrExpired
	}
	if s.opened != nil {
		s.opened(by)
	}
	return t, nil
}

// decode refuses what no Seal of this version sealed.
func (s *Sealer) decode(plain []byte) (t Token, err error) {
	var p payload
	if err := sealing.Decode(plain, &p); err != nil {
		return Token{}, err
	}
	t = Token{
		ID: p.ID, Caller: p.Caller, App: s.sealer.App(), User: p.User,
		IssuedAt: time.UnixMilli(p.IssuedAt), ExpiresAt: time.UnixMilli(p.ExpiresAt),
	}
	if t.Allow, err = parseRules(p.Allow); err != nil {
		return Token{}, err
	}
	if t.Deny, err = parseRules(p.Deny); err != nil {
		return Token{}, err
	}
	return t, t.check()
}

func parseRules(texts []string) ([]access.Rule, error) {
	var rules []access.Rule
	for _, text := range texts {
		rule, err := access.ParseRuleText(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}
