package sidecar_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// workloadIssuer signs JWTs and publishes its key.
type workloadIssuer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	url string
	// away has it answer 503. asked counts requests for the key.
	away  atomic.Bool
	asked atomic.Int32
}

const workloadIssuerName = "https://kubernetes.default.svc"

func newWorkloadIssuer(t *testing.T) *workloadIssuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &workloadIssuer{t: t, key: key}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		if i.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Write(i.keys())
	}))
	t.Cleanup(server.Close)
	i.url = server.URL + "/openid/v1/jwks"
	return i
}

func (i *workloadIssuer) keys() []byte {
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k1", Use: "sig"}}})
	if err != nil {
		i.t.Fatal(err)
	}
	return set
}

// token is a JWT for subject, with some claims changed.
func (i *workloadIssuer) token(subject string, changes map[string]any) string {
	i.t.Helper()
	claims := map[string]any{
		"iss": workloadIssuerName, "sub": subject, "aud": []string{"hubspot-sidecar"},
		"exp": time.Now().Add(10 * time.Minute).Unix(), "iat": time.Now().Unix(),
	}
	maps.Copy(claims, changes)
	payload, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// workloadCallers are callers known by JWTs, who may not DELETE.
func workloadCallers(keys string) string {
	jwt := func(subject string) string {
		return `jwt {
				issuer ` + workloadIssuerName + `
				` + keys + `
				audience hubspot-sidecar
				subject ` + subject + `
			}
			deny DELETE *
		`
	}
	return "caller workload {\n" + jwt("system:serviceaccount:crm:*") + "}\n" +
		"caller narrow {\n" + jwt("system:serviceaccount:crm:narrow") + "}\n"
}

const workload = "system:serviceaccount:crm:sync"

func TestCallerByJWT(t *testing.T) {
	issuer := newWorkloadIssuer(t)
	upstream := caddytest.Upstream(t)
	h := caddytest.Start(t, caddytest.WithAPI(caddytest.Caddyfile(workloadCallers("jwks_url "+issuer.url), "hubspot_auth\nhubspot_proxy hbdev"), upstream))
	h.ConnectAs("acme", caddytest.AccessToken)
	if n := issuer.asked.Load(); n != 0 {
		t.Errorf("the keys were fetched %d times when the config was loaded", n)
	}
	good := issuer.token(workload, nil)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	for _, tc := range []struct {
		name, authorization string
		caller, words       string
	}{
		{"good", "Bearer " + good, "workload", ""},
		{"scheme in odd case", "bEARER  " + good, "workload", ""},
		{"two callers", "Bearer " + issuer.token("system:serviceaccount:crm:narrow", nil), "", "Two callers match this JWT's subject and audience"},
		{"other subject", "Bearer " + issuer.token("system:serviceaccount:web:sync", nil), "", "No caller matches this JWT's subject and audience"},
		{"other audience", "Bearer " + issuer.token(workload, map[string]any{"aud": "vault"}), "", "No caller matches this JWT's subject and audience"},
		{"other issuer", "Bearer " + issuer.token(workload, map[string]any{"iss": "https://evil.example"}), "", "The issuer of the JWT is not known."},
		{"expired", "Bearer " + issuer.token(workload, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), "", "The JWT has expired."},
		{"changed", "Bearer " + parts[0] + "." + parts[1] + "x." + parts[2], "", "JWT"},
		{"none", "Bearer " + none, "", "The JWT is malformed or its algorithm is not accepted."},
		{"of somebody else", "Bearer " + newWorkloadIssuer(t).token(workload, nil), "", "The signature of the JWT is wrong."},
		{"as a password", "Basic " + base64.StdEncoding.EncodeToString([]byte("workload:"+good)), "", "caller key is not known"},
		{"key", "Bearer " + caddytest.CallerKey + "x", "", "caller key is not known"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := h.Do(http.MethodDelete, "/as/acme/crm/x", nil, "Authorization", tc.authorization)
			wantRefusedAs(t, got, tc.caller, tc.words)
		})
	}
	if got := h.Do(http.MethodGet, "/as/acme/crm/x", nil, "Authorization", "Bearer "+good); got.Text != `{"ok": true}` {
		t.Errorf("%s %s", got.Status, got.Text)
	}
	if got := h.Do(http.MethodGet, "/hubspot/auth/hbdev?userForeignIdentifier=acme", nil, "Authorization", "Bearer "+good); got.StatusCode != 200 {
		t.Errorf("install link: %s %s", got.Status, got.Text)
	}
	if n := issuer.asked.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
	if strings.Contains(h.Logs.String(), parts[1]) || strings.Contains(h.Logs.String(), parts[2]) {
		t.Error("a JWT is in the log")
	}
}

// An issuer that is away is no fault of the caller's, and a reload does not
// lose the keys that are known.
func TestIssuerOfJWTsAway(t *testing.T) {
	issuer := newWorkloadIssuer(t)
	issuer.away.Store(true)
	upstream := caddytest.Upstream(t)
	text := caddytest.WithAPI(caddytest.Caddyfile(workloadCallers("jwks_url "+issuer.url), "hubspot_proxy hbdev"), upstream)
	h := caddytest.Start(t, text)
	h.ConnectAs("acme", caddytest.AccessToken)
	ask := func() caddytest.Answer {
		return h.Do(http.MethodGet, "/as/acme/crm/x", nil, "Authorization", "Bearer "+issuer.token(workload, nil))
	}
	got := ask()
	e := sidecartest.WantOwnError(t, got, 401, "caller_unauthenticated")
	if !strings.Contains(e.Message, "cannot be had at present") || strings.Contains(e.Message, issuer.url) || got.Header.Get("Retry-After") != "10" {
		t.Errorf("%s, Retry-After %q", e.Message, got.Header.Get("Retry-After"))
	}
	if !strings.Contains(h.Logs.String(), "the keys of an issuer of JWTs cannot be had") {
		t.Error("the log does not say so")
	}

	known := newWorkloadIssuer(t)
	text = strings.ReplaceAll(text, issuer.url, known.url)
	issuer = known
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got.Text != `{"ok": true}` {
		t.Fatalf("%s %s", got.Status, got.Text)
	}
	known.away.Store(true)
	if err := h.Load(strings.Replace(text, "deny DELETE *", "deny PUT *", 1)); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got.Text != `{"ok": true}` || known.asked.Load() != 1 {
		t.Errorf("after a reload: %s %s, keys fetched %d times", got.Status, got.Text, known.asked.Load())
	}
}

func TestKeysOfJWTsInAFile(t *testing.T) {
	issuer := newWorkloadIssuer(t)
	upstream := caddytest.Upstream(t)
	h := caddytest.New(t)
	path := h.WriteFile("jwks.json", string(issuer.keys()))
	t.Setenv("JWKS", path)
	if err := h.Load(caddytest.WithAPI(caddytest.Caddyfile(workloadCallers("jwks_file {env.JWKS}"), "hubspot_proxy hbdev"), upstream)); err != nil {
		t.Fatal(err)
	}
	h.ConnectAs("acme", caddytest.AccessToken)
	if got := h.Do(http.MethodGet, "/as/acme/crm/x", nil, "Authorization", "Bearer "+issuer.token(workload, nil)); got.Text != `{"ok": true}` {
		t.Errorf("%s %s", got.Status, got.Text)
	}
}
