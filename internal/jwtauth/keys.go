package jwtauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// maxKeys bounds what a token without a key id has to be tried with.
	maxKeys = 64
	// minRSABits is the least of RFC 7518, 3.3.
	minRSABits = 2048
)

// keys are the usable keys of an issuer at some time.
type keys struct {
	list []jose.JSONWebKey
	// since is when they were last known to be the issuer's.
	since time.Time
}

// errNoKey means that none of the keys is the one that a token names.
var errNoKey = errors.New("no such key")

// verify checks a token's signature and reads its claims. The errors are
// errNoKey, [ErrBadSignature] and [ErrMalformed].
func (k *keys) verify(token *jwt.JSONWebToken, claims *jwt.Claims) error {
	header := token.Headers[0]
	found := false
	for i := range k.list {
		key := &k.list[i]
		if header.KeyID != "" && header.KeyID != key.KeyID || !suits(key, jose.SignatureAlgorithm(header.Algorithm)) {
			continue
		}
		err := token.Claims(key.Key, claims)
		if err == nil {
			return nil
		}
		if !errors.Is(err, jose.ErrCryptoFailure) {
			return ErrMalformed
		}
		found = true
	}
	if found && header.KeyID != "" {
		return ErrBadSignature
	}
	return errNoKey
}

// suits reports whether a key is for an algorithm (RFC 7518, 3.1; RFC 8037).
func suits(key *jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if key.Algorithm != "" && key.Algorithm != string(alg) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
	case *ecdsa.PublicKey:
		return alg == ecdsaAlgorithm(public.Curve)
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

func ecdsaAlgorithm(curve elliptic.Curve) jose.SignatureAlgorithm {
	switch curve {
	case elliptic.P256():
		return jose.ES256
	case elliptic.P384():
		return jose.ES384
	case elliptic.P521():
		return jose.ES512
	}
	return ""
}

// parseKeys reads a JWK set. Keys that cannot verify tokens are left out, as
// RFC 7517, 5 wants it; a set may have none that can, but has to be one.
func parseKeys(data []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil || set.Keys == nil {
		return nil, errors.New("it is not a JWK set: JSON with the member keys")
	}
	if len(*set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys; at most %d can be used", len(*set.Keys), maxKeys)
	}
	list := make([]jose.JSONWebKey, 0, len(*set.Keys))
	for _, raw := range *set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err == nil && isVerifying(&key) {
			list = append(list, key)
		}
	}
	return list, nil
}

// isVerifying reports whether a key is a public key for signatures. SPIFFE
// bundles mark those of JWTs with a use of their own (SPIFFE Trust Domain and
// Bundle, 4.2.2).
func isVerifying(key *jose.JSONWebKey) bool {
	if !key.Valid() || !slices.Contains([]string{"", "sig", "jwt-svid"}, key.Use) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
