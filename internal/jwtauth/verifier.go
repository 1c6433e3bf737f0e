package jwtauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// MaxLength is the largest number of bytes of a token.
	MaxLength = 8 << 10
	// Leeway is how far ahead the clock of an issuer may be. It does not
	// prolong a token's life.
	Leeway = time.Minute
)

// Errors of [Verifier.Verify]. None holds anything of the token.
var (
	// ErrMalformed means that the text is no signed JWT with an issuer, a
	// subject and an expiry, is too long, or is signed with an algorithm
	// that is not accepted.
	ErrMalformed = errors.New("the JWT is malformed or its algorithm is not accepted")
	// ErrUnknownIssuer means that no keys are configured for the issuer.
	ErrUnknownIssuer = errors.New("the issuer of the JWT is not known")
	// ErrUnknownKey means that the issuer does not have the key that the
	// token is signed with.
	ErrUnknownKey = errors.New("the issuer of the JWT does not have the key that it is signed with")
	// ErrBadSignature means that the signature is not the issuer's.
	ErrBadSignature = errors.New("the signature of the JWT is wrong")
	// ErrExpired means that the token was good until some time ago.
	ErrExpired = errors.New("the JWT has expired")
	// ErrNotYetValid means that the token is from the future.
	ErrNotYetValid = errors.New("the JWT is not valid yet")
	// ErrKeysUnavailable means that the keys of the issuer cannot be had at
	// present, so that nothing can be said of the token.
	ErrKeysUnavailable = errors.New("the keys of the JWT's issuer cannot be had")
)

// algorithms are those of RFC 7518, 3.1, and RFC 8037 that verify with a
// public key. Neither none nor HMAC is among them.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

// Claims are what a verified token says. They are shared between calls and
// must not be changed.
type Claims struct {
	// Issuer is the claim iss.
	Issuer string
	// Subject is the claim sub; it is not empty.
	Subject string
	// Audience is the claim aud.
	Audience []string
	// Expires is the claim exp.
	Expires time.Time
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	issuers  map[string]*KeySet
	verified cache
}

// NewVerifier makes a verifier of tokens of the given issuers, which are the
// claim iss to the letter. It does not close the key sets.
func NewVerifier(issuers map[string]*KeySet) *Verifier {
	return &Verifier{issuers: issuers}
}

// IsToken reports whether a text has the form of a signed JWT: three parts, of
// which the first begins as the JSON of a header does.
func IsToken(text string) bool {
	return strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2
}

// Verify checks a token and returns its claims. It waits for keys no longer
// than ctx and some seconds. A verified token is taken for good for a minute
// at the most, whatever becomes of the keys meanwhile.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	if len(token) > MaxLength {
		return Claims{}, fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, MaxLength)
	}
	sum := sha256.Sum256([]byte(token))
	if claims, ok := v.verified.get(sum, time.Now()); ok {
		return claims, nil
	}
	claims, err := v.verify(ctx, token)
	if err != nil {
		return Claims{}, err
	}
	v.verified.put(sum, claims, time.Now())
	return claims, nil
}

func (v *Verifier) verify(ctx context.Context, token string) (Claims, error) {
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return Claims{}, ErrMalformed
	}
	var said jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&said); err != nil || said.Issuer == "" {
		return Claims{}, fmt.Errorf("%w: it names no issuer", ErrMalformed)
	}
	keys, ok := v.issuers[said.Issuer]
	if !ok {
		return Claims{}, ErrUnknownIssuer
	}
	var claims jwt.Claims
	if err := keys.verify(ctx, parsed, &claims); err != nil {
		return Claims{}, err
	}
	return checked(&claims, time.Now())
}

// checked checks the claims of a token whose signature is right.
func checked(c *jwt.Claims, now time.Time) (Claims, error) {
	switch {
	case c.Subject == "":
		return Claims{}, fmt.Errorf("%w: it has no subject", ErrMalformed)
	case c.Expiry == nil:
		return Claims{}, fmt.Errorf("%w: it never expires", ErrMalformed)
	case !now.Before(c.Expiry.Time()):
		return Claims{}, ErrExpired
	case c.NotBefore != nil && now.Add(Leeway).Before(c.NotBefore.Time()),
		c.IssuedAt != nil && now.Add(Leeway).Before(c.IssuedAt.Time()):
		return Claims{}, ErrNotYetValid
	}
	return Claims{Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, Expires: c.Expiry.Time()}, nil
}
