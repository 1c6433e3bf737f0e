package sidecar_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// authority is a CA for certificates of servers and clients.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var signed tls.Certificate
	signed, a.key = a.sign(template)
	a.cert = signed.Leaf
	return a
}

// sign makes a certificate, which signs itself as long as there is no other.
func (a *authority) sign(template *x509.Certificate) (tls.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, key
}

// client makes a certificate for a client with names, separated by spaces:
// URIs and DNS names.
func (a *authority) client(names string) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		// The common name is what a caller's name would have to be, if it
		// were looked at.
		Subject:     pkix.Name{CommonName: "sync.crm.internal"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for name := range strings.FieldsSeq(names) {
		if !strings.Contains(name, "://") {
			template.DNSNames = append(template.DNSNames, name)
			continue
		}
		u, err := url.Parse(name)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	cert, _ := a.sign(template)
	return cert
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// tlsSite is a site with TLS that asks for client certificates in a mode, and
// callers that are known by them. Every caller is refused DELETE, by which
// tests see who it was.
func tlsSite(t *testing.T, mode, proxy string) (text string, servers, clients *authority) {
	t.Helper()
	dir := t.TempDir()
	servers, clients = newAuthority(t, "servers"), newAuthority(t, "clients")
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := servers.client("localhost")
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile := write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})))
	keyFile := write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	text = caddytest.Caddyfile(`
		caller certified {
			cert_san spiffe://prod/ns/crm/** *.crm.internal
			deny DELETE *
		}
		caller narrow {
			cert_san spiffe://prod/ns/crm/sa/narrow
			deny DELETE *
		}`, `
		tls `+certFile+` `+keyFile+` {
			client_auth {
				mode `+mode+`
				trust_pool file `+write("clients.pem", clients.pem())+`
			}
		}
		hubspot_auth
		`+proxy)
	text = strings.Replace(text, "key {env.CALLER_KEY}", "key {env.CALLER_KEY}\n\t\t\tdeny DELETE *", 1)
	return strings.Replace(text, "http://localhost:0 {", "https://localhost:0 {", 1), servers, clients
}

// tlsClient makes requests of the TLS site, with a certificate or none. It
// presents it even where the server names other authorities.
func tlsClient(h *caddytest.Harness, servers *authority, certificates ...tls.Certificate) func(method, path string, header ...string) (caddytest.Answer, error) {
	pool := x509.NewCertPool()
	pool.AddCert(servers.cert)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if len(certificates) > 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config}}
	return func(method, path string, header ...string) (caddytest.Answer, error) {
		h.T.Helper()
		_, port, err := net.SplitHostPort(h.Addr())
		if err != nil {
			h.T.Fatal(err)
		}
		req, err := http.NewRequestWithContext(h.T.Context(), method, "https://127.0.0.1:"+port+path, nil)
		if err != nil {
			h.T.Fatal(err)
		}
		req.Host = "localhost:" + port
		req.Header.Set("X-HubSpot-User", "acme")
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], strings.ReplaceAll(header[i+1], "PORT", port))
		}
		resp, err := client.Do(req)
		if err != nil {
			return caddytest.Answer{}, err
		}
		return h.Read(resp, nil), nil
	}
}

// wantRefusedAs checks that a DELETE was refused to a caller of that name, or
// that the request was refused otherwise, with words of the message.
func wantRefusedAs(t *testing.T, got caddytest.Answer, caller, words string) {
	t.Helper()
	if caller != "" {
		if e := sidecartest.WantOwnError(t, got, 403, "caller_forbidden"); !strings.Contains(e.Message, `Caller "`+caller+`" may not use this method`) {
			t.Errorf("%s, want it refused to the caller %s", e.Message, caller)
		}
		return
	}
	if e := sidecartest.WantOwnError(t, got, got.StatusCode, e401or403(got)); !strings.Contains(e.Message, words) {
		t.Errorf("%s %s, want words %q", got.Status, e.Message, words)
	}
}

func e401or403(got caddytest.Answer) string {
	if got.StatusCode == 403 {
		return "caller_forbidden"
	}
	return "caller_unauthenticated"
}

func TestCallerByCertificate(t *testing.T) {
	upstream := caddytest.Upstream(t)
	text, servers, clients := tlsSite(t, "verify_if_given", "hubspot_proxy hbdev")
	h := caddytest.Start(t, caddytest.WithAPI(text, upstream))
	h.ConnectAs("acme", caddytest.AccessToken)
	const sync = "spiffe://prod/ns/crm/sa/sync"
	key := []string{"Authorization", "Bearer " + caddytest.CallerKey}
	// What else may be in a certificate, or beside it, is for the tests of
	// package admission.
	for _, tc := range []struct {
		name   string
		names  string
		header []string
		caller string
		words  string
	}{
		{"URI", sync, nil, "certified", ""},
		{"DNS name in another case", "A.CRM.internal", nil, "certified", ""},
		{"common name only", "", nil, "", "No cert_san of a caller matches"},
		{"two callers", "spiffe://prod/ns/crm/sa/narrow", nil, "", "Two callers match this client certificate"},
		{"key beside it", sync, key, "tester", ""},
		{"page of another site", sync, []string{"Sec-Fetch-Site", "cross-site"}, "", "pages of this site only"},
		{"page of this site", sync, []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://localhost:PORT"}, "certified", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tlsClient(h, servers, clients.client(tc.names))("DELETE", "/crm/x", tc.header...)
			if err != nil {
				t.Fatal(err)
			}
			wantRefusedAs(t, got, tc.caller, tc.words)
		})
	}
	with := tlsClient(h, servers, clients.client(sync))
	if got, err := with("GET", "/crm/x"); err != nil || got.Text != `{"ok": true}` {
		t.Errorf("with a certificate: %s %s, %v", got.Status, got.Text, err)
	}
	if got, err := tlsClient(h, servers)("GET", "/crm/x"); err != nil || got.StatusCode != 401 || strings.Contains(got.Text, "certificate") {
		t.Errorf("without one: %s %s, %v", got.Status, got.Text, err)
	}
	if got, err := tlsClient(h, servers, newAuthority(t, "strangers").client(sync))("GET", "/crm/x"); err == nil {
		t.Errorf("with one of another authority: %s %s", got.Status, got.Text)
	}

	// The endpoints for callers know it as well, and so do errors' links.
	got, err := with("GET", "/hubspot/auth/hbdev?userForeignIdentifier=acme")
	if err != nil || got.StatusCode != 200 || !strings.Contains(got.Text, `"url"`) {
		t.Errorf("install link: %s %s, %v", got.Status, got.Text, err)
	}
	got, err = with("GET", "/hubspot/auth/hbdev?userForeignIdentifier=acme", "Sec-Fetch-Site", "cross-site")
	if err != nil || got.StatusCode != 403 {
		t.Errorf("install link for a page of another site: %s %s, %v", got.Status, got.Text, err)
	}
	// The client's header says acme, and whatever names a user has to agree.
	got, err = with("GET", "/as/globex/crm/x", "X-HubSpot-User", "globex")
	if err != nil {
		t.Fatal(err)
	}
	if e := sidecartest.WantOwnError(t, got, 404, "not_connected"); e.Links["connect"] == "" {
		t.Errorf("links %v", e.Links)
	}
}

// A certificate that Caddy has not verified says nothing, whoever signed it.
func TestCertificateThatIsNotVerified(t *testing.T) {
	for _, mode := range []string{"request", "require"} {
		t.Run(mode, func(t *testing.T) {
			upstream := caddytest.Upstream(t)
			text, servers, clients := tlsSite(t, mode, "hubspot_proxy hbdev")
			h := caddytest.Start(t, caddytest.WithAPI(text, upstream))
			h.ConnectAs("acme", caddytest.AccessToken)
			for name, signer := range map[string]*authority{"own": clients, "stranger's": newAuthority(t, "strangers")} {
				got, err := tlsClient(h, servers, signer.client("spiffe://prod/ns/crm/sa/sync"))("GET", "/crm/x")
				if err != nil {
					t.Fatal(err)
				}
				if e := sidecartest.WantOwnError(t, got, 401, "caller_unauthenticated"); !strings.Contains(e.Message, "Caddy has not verified it") {
					t.Errorf("%s: %s", name, e.Message)
				}
			}
		})
	}
}

// With open, a certificate still says who it is.
func TestOpenWithCertificate(t *testing.T) {
	upstream := caddytest.Upstream(t)
	text, servers, clients := tlsSite(t, "verify_if_given", "hubspot_proxy hbdev {\n open\n }")
	h := caddytest.Start(t, caddytest.WithAPI(text, upstream))
	h.ConnectAs("acme", caddytest.AccessToken)
	for names, want := range map[string]int{"a.crm.internal": 403, "other.example": 200, "a.crm.internal spiffe://prod/ns/crm/sa/narrow": 401} {
		got, err := tlsClient(h, servers, clients.client(names))("DELETE", "/crm/x")
		if err != nil || got.StatusCode != want {
			t.Errorf("%s: %s %s, %v, want %d", names, got.Status, got.Text, err, want)
		}
	}
	got, err := tlsClient(h, servers, clients.client("a.crm.internal"))("GET", "/crm/x", "Sec-Fetch-Site", "cross-site")
	if err != nil || got.StatusCode != 403 {
		t.Errorf("page of another site: %s %s, %v", got.Status, got.Text, err)
	}
}
