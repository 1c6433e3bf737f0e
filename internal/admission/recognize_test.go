package admission_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
	"github.com/caddy-hubspot/caddy-hubspot/internal/peercred"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// deskWith makes a desk with the caller tester and others.
func deskWith(t *testing.T, jwts *jwtauth.Verifier, callers ...access.CallerConfig) *admission.Desk {
	t.Helper()
	k := sidecartest.New(t, sidecartest.Config{})
	all := []*access.Caller{}
	for _, c := range append(callers, access.CallerConfig{Name: "tester", Keys: []secret.Text{secret.New(sidecartest.CallerKey)}}) {
		caller, err := access.NewCaller(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, caller)
	}
	registry, err := access.NewRegistry(all)
	if err != nil {
		t.Fatal(err)
	}
	return admission.NewDesk(admission.Config{
		Apps: k.Apps, Callers: registry, JWTs: jwts, Freezes: k.Freezes, Metrics: k.Metrics, Logger: k.Logger,
	})
}

// wantCaller checks that a request was recognized, or that it was refused with
// words of the message.
func wantCaller(t *testing.T, caller *access.Caller, err error, name, words string) {
	t.Helper()
	if name != "" {
		if err != nil || caller.Name() != name {
			t.Errorf("caller %v, %v; want %s", caller, err, name)
		}
		return
	}
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok || !strings.Contains(e.Message, words) || caller != nil {
		t.Errorf("caller %v, %v; want words %q", caller, err, words)
	}
}

// presented makes a request with a client certificate that has names: URIs and
// DNS names, separated by spaces.
func presented(t *testing.T, names string, verified bool) *http.Request {
	t.Helper()
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "sync.crm.internal"}}
	for name := range strings.FieldsSeq(names) {
		if !strings.Contains(name, "://") {
			cert.DNSNames = append(cert.DNSNames, name)
			continue
		}
		u, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		cert.URIs = append(cert.URIs, u)
	}
	r := httptest.NewRequest(http.MethodGet, "https://localhost/crm/x", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	if verified {
		r.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
	}
	return r
}

func TestCallerByCertificate(t *testing.T) {
	t.Parallel()
	desk := deskWith(t, nil,
		access.CallerConfig{Name: "certified", Certificates: []string{"spiffe://prod/ns/crm/**", "*.crm.internal"}},
		access.CallerConfig{Name: "narrow", Certificates: []string{"spiffe://prod/ns/crm/sa/narrow"}},
	)
	const sync = "spiffe://prod/ns/crm/sa/sync"
	key := []string{"Authorization", "Bearer " + sidecartest.CallerKey}
	for _, tc := range []struct {
		name          string
		names         string
		header        []string
		caller, words string
	}{
		{"URI", sync, nil, "certified", ""},
		{"DNS name in another case", "A.CRM.internal", nil, "certified", ""},
		{"URI in another case", "spiffe://prod/ns/CRM/sa/sync", nil, "", "No cert_san of a caller matches"},
		{"common name only", "", nil, "", "No cert_san of a caller matches"},
		{"URI that ends like a DNS glob", "spiffe://dev/a.crm.internal", nil, "", "No cert_san of a caller matches"},
		{"two callers", "spiffe://prod/ns/crm/sa/narrow", nil, "", "Two callers match this client certificate"},
		{"names of two callers", "a.crm.internal spiffe://prod/ns/crm/sa/narrow", nil, "", "Two callers match"},
		{"key beside it", sync, key, "tester", ""},
		{"key beside a stranger's", "spiffe://other/x", key, "tester", ""},
		{"wrong key beside it", sync, []string{"Authorization", "Bearer wrong-key-0123456789012"}, "", "caller key is not known"},
		{"empty header beside it", sync, []string{"Authorization", ""}, "", "has to be Bearer"},
		{"page of another site", sync, []string{"Sec-Fetch-Site", "cross-site"}, "", "pages of this site only"},
		{"page of another port", sync, []string{"Sec-Fetch-Site", "same-site"}, "", "pages of this site only"},
		{"origin of another site", sync, []string{"Origin", "https://evil.example"}, "", "pages of this site only"},
		{"origin null", sync, []string{"Origin", "null"}, "", "pages of this site only"},
		{"page of this site", sync, []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://localhost"}, "certified", ""},
		{"address bar", sync, []string{"Sec-Fetch-Site", "none"}, "certified", ""},
		{"page of another site with a key", sync, append([]string{"Sec-Fetch-Site", "cross-site"}, key...), "tester", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := presented(t, tc.names, true)
			for i := 0; i+1 < len(tc.header); i += 2 {
				r.Header.Set(tc.header[i], tc.header[i+1])
			}
			caller, err := desk.Authenticate(r)
			wantCaller(t, caller, err, tc.caller, tc.words)
		})
	}
	// What was not verified says nothing.
	caller, err := desk.Authenticate(presented(t, sync, false))
	wantCaller(t, caller, err, "", "Caddy has not verified it")
	// Nor is a certificate spoken of where there is none.
	r := presented(t, sync, false)
	r.TLS.PeerCertificates = nil
	if _, err := desk.Authenticate(r); err == nil || strings.Contains(err.Error(), "certificate") {
		t.Errorf("without a certificate: %v", err)
	}
}

// over makes a request that came by a unix socket, from a peer or from nobody
// knows whom.
func over(p *peercred.Peer) *http.Request {
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Net: "unix"}))
	if p != nil {
		ctx = peercred.With(ctx, *p)
	}
	return httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/crm/x", nil)
}

func TestCallerByPeer(t *testing.T) {
	t.Parallel()
	if !peercred.Known {
		t.Skip("only Linux tells who is at the other end of a unix socket")
	}
	self := &peercred.Peer{UID: 1000, GID: 100}
	uid := func(name string, ids ...uint32) access.CallerConfig {
		return access.CallerConfig{Name: name, UIDs: ids}
	}
	both := access.CallerConfig{Name: "both", UIDs: []uint32{4711, 1000}, GIDs: []uint32{100}}
	for _, tc := range []struct {
		name          string
		callers       []access.CallerConfig
		peer          *peercred.Peer
		key           string
		caller, words string
	}{
		{"user and group", []access.CallerConfig{both, uid("stranger", 4242)}, self, "", "both", ""},
		{"a group", []access.CallerConfig{{Name: "group", GIDs: []uint32{100}}}, self, "", "group", ""},
		{"another user", []access.CallerConfig{uid("a", 1001)}, self, "", "", "are no caller's"},
		{"another group", []access.CallerConfig{{Name: "a", UIDs: []uint32{1000}, GIDs: []uint32{101}}}, self, "", "", "are no caller's"},
		{"two callers", []access.CallerConfig{uid("a", 1000), {Name: "b", GIDs: []uint32{100}}}, self, "", "", "Two callers match this user and group"},
		{"no such caller", nil, self, "", "", "No caller key was given"},
		{"who cannot be told", []access.CallerConfig{both}, nil, "", "", "cannot be told"},
		{"with a key", []access.CallerConfig{both}, self, sidecartest.CallerKey, "tester", ""},
		{"with a wrong key", []access.CallerConfig{both}, self, "wrong-key-0123456789012", "", "caller key is not known"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := over(tc.peer)
			if tc.key != "" {
				r.Header.Set("Authorization", "Bearer "+tc.key)
			}
			caller, err := deskWith(t, nil, tc.callers...).Authenticate(r)
			wantCaller(t, caller, err, tc.caller, tc.words)
		})
	}
}

// deskOf makes a desk with two callers that are known by JWTs of an issuer.
func deskOf(t *testing.T, issuer *sidecartest.Issuer) *admission.Desk {
	t.Helper()
	set, err := jwtauth.NewURLKeySet(issuer.URL, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	known := func(name, subject string) access.CallerConfig {
		return access.CallerConfig{Name: name, Token: &access.TokenConfig{Issuer: sidecartest.IssuerName, Audience: sidecartest.Audience, Subjects: []string{subject}}}
	}
	return deskWith(t, jwtauth.NewVerifier(map[string]*jwtauth.KeySet{sidecartest.IssuerName: set}),
		known("workload", "system:serviceaccount:crm:*"), known("narrow", "system:serviceaccount:crm:narrow"))
}

func authorized(value string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/crm/x", nil)
	r.Header.Set("Authorization", value)
	return r
}

func TestCallerByJWT(t *testing.T) {
	t.Parallel()
	issuer := sidecartest.NewIssuer(t)
	desk := deskOf(t, issuer)
	if n := issuer.Asked.Load(); n != 0 {
		t.Errorf("the keys were fetched %d times before they were needed", n)
	}
	good := issuer.Token(sidecartest.Workload, nil)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	for _, tc := range []struct {
		name, authorization string
		caller, words       string
	}{
		{"good", "Bearer " + good, "workload", ""},
		{"scheme in odd case", "bEARER  " + good, "workload", ""},
		{"two callers", "Bearer " + issuer.Token("system:serviceaccount:crm:narrow", nil), "", "Two callers match this JWT's subject and audience"},
		{"other subject", "Bearer " + issuer.Token("system:serviceaccount:web:sync", nil), "", "No caller matches this JWT's subject and audience"},
		{"other audience", "Bearer " + issuer.Token(sidecartest.Workload, map[string]any{"aud": "vault"}), "", "No caller matches this JWT's subject and audience"},
		{"other issuer", "Bearer " + issuer.Token(sidecartest.Workload, map[string]any{"iss": "https://evil.example"}), "", "The issuer of the JWT is not known."},
		{"expired", "Bearer " + issuer.Token(sidecartest.Workload, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), "", "The JWT has expired."},
		{"changed", "Bearer " + parts[0] + "." + parts[1] + "x." + parts[2], "", "JWT"},
		{"none", "Bearer " + none, "", "The JWT is malformed or its algorithm is not accepted."},
		{"of somebody else", "Bearer " + sidecartest.NewIssuer(t).Token(sidecartest.Workload, nil), "", "The signature of the JWT is wrong."},
		{"as a password", "Basic " + base64.StdEncoding.EncodeToString([]byte("workload:"+good)), "", "caller key is not known"},
		{"key", "Bearer " + sidecartest.CallerKey + "x", "", "caller key is not known"},
	} {
		caller, err := desk.Authenticate(authorized(tc.authorization))
		wantCaller(t, caller, err, tc.caller, tc.words)
	}
	if n := issuer.Asked.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
}

// An issuer that is away is no fault of the caller's.
func TestIssuerOfJWTsAway(t *testing.T) {
	t.Parallel()
	issuer := sidecartest.NewIssuer(t)
	issuer.Away.Store(true)
	_, err := deskOf(t, issuer).Authenticate(authorized("Bearer " + issuer.Token(sidecartest.Workload, nil)))
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok || e.SubCategory != apierror.CallerUnauthenticated || e.RetryAfter != 10*time.Second ||
		!strings.Contains(e.Message, "cannot be had at present") || strings.Contains(e.Message, issuer.URL) {
		t.Errorf("%+v", err)
	}
}
