package jwtauth_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
)

func TestAlgorithms(t *testing.T) {
	var all []jose.JSONWebKey
	for name := range signers() {
		if name != "rsa-short" {
			all = append(all, jwk(name))
		}
	}
	verifier := verifierOf(fileSet(t, all...))
	for alg, name := range map[jose.SignatureAlgorithm]string{
		jose.RS256: "rsa", jose.RS384: "rsa", jose.RS512: "rsa", jose.PS256: "rsa", jose.PS384: "rsa", jose.PS512: "rsa",
		jose.ES256: "p256", jose.ES384: "p384", jose.ES512: "p521", jose.EdDSA: "ed",
	} {
		for _, kid := range []string{name, ""} {
			token := sign(t, alg, signers()[name], kid, goodClaims())
			claims, err := verifier.Verify(t.Context(), token)
			if err != nil || claims.Subject != testSubject || claims.Issuer != testIssuer || !reflect.DeepEqual(claims.Audience, []string{"hubspot-sidecar"}) {
				t.Errorf("%s, kid %q: %+v, %v", alg, kid, claims, err)
			}
		}
	}
}

func TestVerify(t *testing.T) {
	now := time.Now()
	rsaOnly := jwk("rsa2")
	rsaOnly.Algorithm = "RS256"
	encryption := jwk("p521")
	encryption.Use = "enc"
	spiffe := jwk("p384")
	spiffe.Use = "jwt-svid"
	verifier := verifierOf(fileSet(t, jwk("p256"), rsaOnly, encryption, spiffe, jwk("rsa-short")))
	es256 := func(claims map[string]any) string { return sign(t, jose.ES256, signers()["p256"], "p256", claims) }
	good := es256(goodClaims())
	parts := strings.Split(good, ".")
	other := strings.Split(es256(with(map[string]any{"sub": "other"})), ".")
	// A public key as the secret of an HMAC, which whoever takes the
	// algorithm from the token would accept.
	public, err := x509.MarshalPKIXPublicKey(signers()["p256"].Public())
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	for _, tc := range []struct {
		name  string
		token string
		want  error
	}{
		{"good", good, nil},
		{"one audience as a text", es256(with(map[string]any{"aud": "hubspot-sidecar"})), nil},
		{"clock of the issuer is ahead", es256(with(map[string]any{"iat": now.Add(50 * time.Second).Unix(), "nbf": now.Add(50 * time.Second).Unix()})), nil},
		{"marked for JWT-SVIDs", sign(t, jose.ES384, signers()["p384"], "p384", goodClaims()), nil},
		{"fixed algorithm", sign(t, jose.RS256, signers()["rsa2"], "rsa2", goodClaims()), nil},

		{"empty", "", jwtauth.ErrMalformed},
		{"two parts", parts[0] + "." + parts[1], jwtauth.ErrMalformed},
		{"no signature", parts[0] + "." + parts[1] + ".", jwtauth.ErrBadSignature},
		{"other payload", parts[0] + "." + other[1] + "." + parts[2], jwtauth.ErrBadSignature},
		{"none", encode([]byte(`{"alg":"none","kid":"p256"}`)) + "." + parts[1] + ".", jwtauth.ErrMalformed},
		{"none with a signature", encode([]byte(`{"alg":"none","kid":"p256"}`)) + "." + parts[1] + "." + parts[2], jwtauth.ErrMalformed},
		{"HMAC with the public key", sign(t, jose.HS256, public, "p256", goodClaims()), jwtauth.ErrMalformed},
		{"critical extension", encode([]byte(`{"alg":"ES256","kid":"p256","crit":["x"],"x":1}`)) + "." + parts[1] + "." + parts[2], jwtauth.ErrMalformed},
		{"long", es256(with(map[string]any{"x": strings.Repeat("x", jwtauth.MaxLength)})), jwtauth.ErrMalformed},
		{"payload is no JSON", sign(t, jose.ES256, signers()["p256"], "p256", "text"), jwtauth.ErrMalformed},

		{"key of another kid", sign(t, jose.RS256, signers()["rsa"], "rsa2", goodClaims()), jwtauth.ErrBadSignature},
		{"unknown kid", sign(t, jose.RS256, signers()["rsa"], "rsa", goodClaims()), jwtauth.ErrUnknownKey},
		{"unknown key without kid", sign(t, jose.RS256, signers()["rsa"], "", goodClaims()), jwtauth.ErrUnknownKey},
		{"another algorithm than the key's", sign(t, jose.PS256, signers()["rsa2"], "rsa2", goodClaims()), jwtauth.ErrUnknownKey},
		{"key for encryption", sign(t, jose.ES512, signers()["p521"], "p521", goodClaims()), jwtauth.ErrUnknownKey},
		{"short RSA key", sign(t, jose.RS256, signers()["rsa-short"], "rsa-short", goodClaims()), jwtauth.ErrUnknownKey},

		{"no issuer", es256(with(map[string]any{"iss": nil})), jwtauth.ErrMalformed},
		{"unknown issuer", es256(with(map[string]any{"iss": testIssuer + "/"})), jwtauth.ErrUnknownIssuer},
		{"no subject", es256(with(map[string]any{"sub": nil})), jwtauth.ErrMalformed},
		{"no expiry", es256(with(map[string]any{"exp": nil})), jwtauth.ErrMalformed},
		{"expired", es256(with(map[string]any{"exp": now.Add(-time.Second).Unix()})), jwtauth.ErrExpired},
		{"expiry that overflows", es256(with(map[string]any{"exp": 1e30})), jwtauth.ErrMalformed},
		{"not yet", es256(with(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()})), jwtauth.ErrNotYetValid},
		{"issued in the future", es256(with(map[string]any{"iat": now.Add(2 * time.Minute).Unix()})), jwtauth.ErrNotYetValid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// Twice: what is refused must not be remembered as good.
			for range 2 {
				claims, err := verifier.Verify(t.Context(), tc.token)
				if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
					t.Fatalf("got %+v, %v, want %v", claims, err, tc.want)
				}
			}
		})
	}
}

// A key that the token itself brings along is not regarded.
func TestEmbeddedKey(t *testing.T) {
	verifier := verifierOf(fileSet(t, jwk("p256")))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: signers()["rsa"]}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(fmt.Sprintf(`{"iss":%q,"sub":"x","exp":%d}`, testIssuer, time.Now().Add(time.Hour).Unix())))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if claims, err := verifier.Verify(t.Context(), token); !errors.Is(err, jwtauth.ErrUnknownKey) {
		t.Errorf("got %+v, %v, want ErrUnknownKey", claims, err)
	}
}

// A verified token is remembered, but not beyond its end.
func TestRememberedUntilItExpires(t *testing.T) {
	set := fileSet(t, jwk("p256"))
	synctest.Test(t, func(t *testing.T) {
		verifier := verifierOf(set)
		token := sign(t, jose.ES256, signers()["p256"], "p256", with(map[string]any{"exp": time.Now().Add(30 * time.Second).Unix()}))
		for range 3 {
			if _, err := verifier.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10*time.Second - time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
		if _, err := verifier.Verify(t.Context(), token); !errors.Is(err, jwtauth.ErrExpired) {
			t.Errorf("after its end: %v, want ErrExpired", err)
		}
	})
}

func TestIsToken(t *testing.T) {
	for text, want := range map[string]bool{
		"eyJhbGciOiJFUzI1NiJ9.e30.AA": true, "eyJ..": true,
		"": false, "eyJhbGciOiJFUzI1NiJ9": false, "eyJ.a.b.c": false, "a.b.c": false, "key.with.dots": false,
	} {
		if got := jwtauth.IsToken(text); got != want {
			t.Errorf("IsToken(%q) = %v", text, got)
		}
	}
}

// FuzzVerify looks for a text other than the signed one that passes, with
// other claims than those that were signed.
func FuzzVerify(f *testing.F) {
	verifier := verifierOf(fileSet(f, jwk("p256"), jwk("rsa"), jwk("ed")))
	for alg, name := range map[jose.SignatureAlgorithm]string{jose.ES256: "p256", jose.PS256: "rsa", jose.EdDSA: "ed"} {
		f.Add(sign(f, alg, signers()[name], name, goodClaims()))
		f.Add(sign(f, alg, signers()[name], "", goodClaims()))
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := verifier.Verify(t.Context(), token)
		if err == nil && (claims.Subject != testSubject || claims.Issuer != testIssuer) {
			t.Errorf("%q passes with %+v", token, claims)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	set := fileSet(b, jwk("p256"), jwk("rsa"))
	for alg, name := range map[jose.SignatureAlgorithm]string{jose.ES256: "p256", jose.RS256: "rsa"} {
		token := sign(b, alg, signers()[name], name, goodClaims())
		b.Run(string(alg)+"/first", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verifierOf(set).Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(alg)+"/again", func(b *testing.B) {
			verifier := verifierOf(set)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verifier.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
