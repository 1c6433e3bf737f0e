package jwtauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
)

const (
	testIssuer  = "https://kubernetes.default.svc"
	testSubject = "system:serviceaccount:crm:sync"
)

// signing keys of each type, made once.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	must := func(key crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return key
	}
	ec := func(curve elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		return must(key, err)
	}
	rs := func(bits int) crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		return must(key, err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]crypto.Signer{
		"rsa": rs(2048), "rsa2": rs(2048), "rsa-short": rs(1024),
		"p256": ec(elliptic.P256()), "p384": ec(elliptic.P384()), "p521": ec(elliptic.P521()),
		"ed": must(ed, err),
	}
})

// jwk returns the public key of a signer, under its name.
func jwk(name string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: signers()[name].Public(), KeyID: name}
}

// setOf returns a JWK set.
func setOf(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fileSet makes a key set of a file with the keys.
func fileSet(t testing.TB, keys ...jose.JSONWebKey) *jwtauth.KeySet {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, setOf(t, keys...), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := jwtauth.NewFileKeySet(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// goodClaims are those of a token that is valid for ten minutes.
func goodClaims() map[string]any {
	return map[string]any{
		"iss": testIssuer, "sub": testSubject, "aud": []string{"hubspot-sidecar"},
		"exp": time.Now().Add(10 * time.Minute).Unix(), "iat": time.Now().Unix(),
	}
}

// with returns good claims with some changed; nil leaves one out.
func with(changes map[string]any) map[string]any {
	claims := goodClaims()
	for name, value := range changes {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// sign makes a token of claims, or of a text as it is. kid is left out if it
// is empty.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, ok := claims.(string)
	if !ok {
		data, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		payload = string(data)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func verifierOf(set *jwtauth.KeySet) *jwtauth.Verifier {
	return jwtauth.NewVerifier(map[string]*jwtauth.KeySet{testIssuer: set})
}
