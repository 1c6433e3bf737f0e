package sidecar

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

// CallerJWT says which JWTs are a caller's. They are signed with RSA, ECDSA or
// EdDSA and come as `Authorization: Bearer <jwt>`. Placeholders are expanded
// when the config is loaded, but in subjects.
type CallerJWT struct {
	// Who makes the tokens: their claim `iss`, to the letter. Required.
	Issuer string `json:"issuer,omitempty"`

	// The address of the issuer's public keys, a JWK set: https, or http on
	// a loopback address. They are fetched when the first token comes, then
	// every hour, and when a token is signed with a key that is not among
	// them. While the address does not answer, the keys of before are used
	// for up to a day. Give this or `jwks_file`.
	JWKSURL string `json:"jwks_url,omitempty"`

	// The file with the issuer's public keys, a JWK set. It is looked at
	// again every few seconds and read if it has changed. Give this or
	// `jwks_url`.
	JWKSFile string `json:"jwks_file,omitempty"`

	// For whom the tokens have to be made: one of those in their claim
	// `aud`. Required, and something that tokens for other services do not
	// have.
	Audience string `json:"audience,omitempty"`

	// Globs over the claim `sub`, such as `system:serviceaccount:crm:*`.
	// Required; `*` is every subject of the issuer.
	Subject []string `json:"subject,omitempty"`
}

// unmarshalCaddyfile reads the block of a caller's setting jwt. What is
// missing is found out when the caller is made.
//
//	jwt {
//	    issuer    <claim>
//	    jwks_url  <url>
//	    jwks_file <file>
//	    audience  <claim>
//	    subject   <globs...>
//	}
func (j *CallerJWT) unmarshalCaddyfile(d *caddyfile.Dispenser, caller string) error {
	if d.NextArg() {
		return d.Err("jwt: takes no value, but a block of settings")
	}
	return settings.Block(d, "caller "+caller+": jwt", map[string]settings.Setting{
		"issuer":    settings.Text(&j.Issuer),
		"jwks_url":  settings.Checked(settings.Text(&j.JWKSURL), j.checkURL),
		"jwks_file": settings.Text(&j.JWKSFile),
		"audience":  settings.Text(&j.Audience),
		"subject":   settings.List(&j.Subject),
	})
}

// checkURL checks the address of the keys, if it is there and can be judged
// yet.
func (j *CallerJWT) checkURL() error {
	if j.JWKSURL == "" || placeholder.In(j.JWKSURL) {
		return nil
	}
	if err := jwtauth.CheckURL(j.JWKSURL); err != nil {
		return fmt.Errorf("jwks_url %q: %w", j.JWKSURL, err)
	}
	return nil
}

// config returns what the registry of callers needs. It is nil if j is.
func (j *CallerJWT) config() *access.TokenConfig {
	if j == nil {
		return nil
	}
	return &access.TokenConfig{Issuer: j.Issuer, Audience: j.Audience, Subjects: j.Subject}
}

// check checks the settings that are not the registry's.
func (j *CallerJWT) check() error {
	switch {
	case j == nil:
		return nil
	case j.JWKSURL == "" && j.JWKSFile == "":
		return errors.New("jwt: jwks_url or jwks_file is missing: the issuer's public keys")
	case j.JWKSURL != "" && j.JWKSFile != "":
		return errors.New("jwt: give jwks_url or jwks_file, not both")
	}
	if err := j.checkURL(); err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	return nil
}

// expand returns the settings with placeholders expanded. It is nil if j is.
func (j *CallerJWT) expand(e *placeholder.Expander) (*CallerJWT, error) {
	if j == nil {
		return nil, nil
	}
	expanded := &CallerJWT{
		Issuer:   e.Text("jwt: issuer", j.Issuer),
		JWKSURL:  e.Text("jwt: jwks_url", j.JWKSURL),
		JWKSFile: e.Text("jwt: jwks_file", j.JWKSFile),
		Audience: e.Text("jwt: audience", j.Audience),
		Subject:  j.Subject,
	}
	return expanded, e.Err()
}

// issuers collects the keys of the issuers of all callers, by issuer.
type issuers map[string]issuer

type issuer struct {
	// caller is the first caller that has the issuer.
	caller string
	at     keysAt
	set    *jwtauth.KeySet
}

// add takes the keys of a caller's issuer. Callers may share an issuer; if its
// keys came from two places, a token would be good in one caller's eyes and
// not in another's.
func (i issuers) add(caller string, j *CallerJWT, acquire func(keysAt) (*jwtauth.KeySet, error)) error {
	if j == nil {
		return nil
	}
	at := keysAt{URL: j.JWKSURL, File: j.JWKSFile}
	if known, ok := i[j.Issuer]; ok {
		if known.at != at {
			return fmt.Errorf("jwt: issuer %q has its keys elsewhere at caller %q; an issuer has one jwks_url or jwks_file", j.Issuer, known.caller)
		}
		return nil
	}
	set, err := acquire(at)
	if err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	i[j.Issuer] = issuer{caller: caller, at: at, set: set}
	return nil
}

// verifier returns what verifies the tokens of the issuers, nil without any.
func (i issuers) verifier() *jwtauth.Verifier {
	if len(i) == 0 {
		return nil
	}
	sets := make(map[string]*jwtauth.KeySet, len(i))
	for name, issuer := range i {
		sets[name] = issuer.set
	}
	return jwtauth.NewVerifier(sets)
}
