package sidecartest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What JWTs of an [Issuer] say.
const (
	IssuerName = "https://kubernetes.default.svc"
	Audience   = "hubspot-sidecar"
	// Workload is a subject, as Kubernetes names a service account.
	Workload = "system:serviceaccount:crm:sync"
)

// Issuer signs JWTs and publishes its key at URL.
type Issuer struct {
	T   testing.TB
	URL string
	// Keys is the JWK set that it publishes.
	Keys []byte
	// Away has it answer 503. Asked counts requests for the key.
	Away  atomic.Bool
	Asked atomic.Int32

	key *ecdsa.PrivateKey
}

// NewIssuer makes an issuer with a key of its own, which ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{T: t, key: key}
	i.Keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.Asked.Add(1)
		if i.Away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(i.Keys)
	}))
	t.Cleanup(server.Close)
	i.URL = server.URL + "/openid/v1/jwks"
	return i
}

// Token is a JWT for subject that lives for ten minutes, with some claims
// changed.
func (i *Issuer) Token(subject string, changes map[string]any) string {
	i.T.Helper()
	claims := map[string]any{
		"iss": IssuerName, "sub": subject, "aud": []string{Audience},
		"exp": time.Now().Add(10 * time.Minute).Unix(), "iat": time.Now().Unix(),
	}
	maps.Copy(claims, changes)
	payload, err := json.Marshal(claims)
	if err != nil {
		i.T.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		i.T.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		i.T.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		i.T.Fatal(err)
	}
	return token
}
