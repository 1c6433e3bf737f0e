package access_test

import (
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// knownBy makes a caller without a key.
func knownBy(t testing.TB, name string, config access.CallerConfig) *access.Caller {
	t.Helper()
	config.Name = name
	caller, err := access.NewCaller(config)
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func bySAN(globs ...string) access.CallerConfig { return access.CallerConfig{Certificates: globs} }

func byToken(issuer, audience string, subjects ...string) access.CallerConfig {
	return access.CallerConfig{Token: &access.TokenConfig{Issuer: issuer, Audience: audience, Subjects: subjects}}
}

func byPeer(uids, gids []uint32) access.CallerConfig {
	return access.CallerConfig{UIDs: uids, GIDs: gids}
}

func TestIdentitiesRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config access.CallerConfig
		want   string
	}{
		{"nothing", access.CallerConfig{}, "key, cert_san, jwt, uid or gid"},
		{"empty glob", bySAN(""), "cert_san: a glob must not be empty"},
		{"glob twice", bySAN("a.internal", "a.internal"), `cert_san: glob "a.internal" is given twice`},
		{"glob twice in another case", bySAN("a.internal", "A.internal"), `cert_san: glob "A.internal" is given twice, in different case`},
		{"space in a name", bySAN("a b"), `cert_san: glob "a b" can never match`},
		{"not ASCII", bySAN("spiffe://prod/é"), "names in certificates are ASCII"},
		{"path without a scheme", bySAN("prod/ns/crm"), "a URI begins with its scheme"},
		{"scheme in upper case", bySAN("SPIFFE://prod/*"), "in lower case"},
		{"address in upper case", bySAN("FD00:*"), "in lower case"},
		{"address in an odd spelling", bySAN("fd00:0::1"), "write the address as fd00::1"},
		{"address with a star for several parts", bySAN("10.1.*"), "write 10.1.** for any"},
		{"IPv6 address with a star for several parts", bySAN("fd00:*"), "write fd00:** for any"},
		{"address with too many parts", bySAN("10.1.*.*.*"), "an address has 4 parts"},
		{"three stars", bySAN("spiffe://prod/***"), "write * for a run within one label, or ** for any run"},
		{"all names twice", bySAN("*", "**"), `cert_san: glob "**" is given twice`},
		{"dot segments in a URI", bySAN("spiffe://prod/ns/../*"), "can never match: URIs with the segments"},
		{"encoded dot segments in a URI", bySAN("spiffe://prod/%2e%2E/*"), "can never match: URIs with the segments"},
		{"empty segment in a URI", bySAN("spiffe://prod//ns/*"), "can never match: URIs with the segments"},
		{"no URI", bySAN("spiffe://[x"), "can never match: it is not a URI"},
		{"slash at the end of a URI", bySAN("spiffe://prod/ns/"), "can never match: URIs with the segments"},
		{"encoded slash in a URI", bySAN("spiffe://prod/a%2fb"), "can never match: URIs with the segments"},
		{"two @ in an e-mail address", bySAN("*@*@example.com"), "an e-mail address has one @"},
		{"half an address", bySAN("10.1.2"), "neither an IP address nor a DNS name"},
		{"no issuer", byToken("", "a", "*"), "jwt: issuer is missing"},
		{"no audience", byToken("https://i", "", "*"), "jwt: audience is missing"},
		{"no subject", byToken("https://i", "a"), "jwt: subject is missing"},
		{"empty subject", byToken("https://i", "a", ""), "jwt: subject: a glob must not be empty"},
		{"subject twice", byToken("https://i", "a", "x", "x"), `jwt: subject: glob "x" is given twice`},
		{"uid twice", byPeer([]uint32{1, 2, 1}, nil), "uid: 1 is given twice"},
		{"gid twice", byPeer(nil, []uint32{7, 7}), "gid: 7 is given twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.config.Name = "a"
			_, err := access.NewCaller(tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestRegistryRefusesOverlaps(t *testing.T) {
	for _, tc := range []struct {
		name string
		a, b access.CallerConfig
		want string
	}{
		{"same SAN", bySAN("x.internal", "spiffe://prod/a"), bySAN("spiffe://prod/a"), `caller "b": cert_san: "spiffe://prod/a": caller "a" has the same`},
		{"same DNS name in another case", bySAN("*.internal"), bySAN("*.INTERNAL"), `cert_san: "*.INTERNAL"`},
		{"URI in another case", bySAN("spiffe://prod/a"), bySAN("spiffe://prod/A"), ""},
		{"all names", bySAN("*"), bySAN("**"), `cert_san: "**": caller "a" has the same`},
		{"any run of a DNS name in another case", bySAN("**.internal"), bySAN("**.INTERNAL"), `cert_san: "**.INTERNAL"`},
		{"one label and any run", bySAN("*.internal"), bySAN("**.internal"), ""},
		{"globs that may meet", bySAN("spiffe://prod/*"), bySAN("spiffe://prod/a"), ""},
		{"same subject", byToken("https://i", "a", "x", "y"), byToken("https://i", "a", "y"), `the subject "y"`},
		{"other audience", byToken("https://i", "a", "x"), byToken("https://i", "b", "x"), ""},
		{"other issuer", byToken("https://i", "a", "x"), byToken("https://j", "a", "x"), ""},
		{"same uid", byPeer([]uint32{1, 2}, nil), byPeer([]uint32{2}, nil), "uid and gid"},
		{"same gid", byPeer(nil, []uint32{1}), byPeer(nil, []uint32{1}), "uid and gid"},
		{"same uid, one with a gid", byPeer([]uint32{1}, nil), byPeer([]uint32{1}, []uint32{5}), "uid and gid"},
		{"same uid, other gids", byPeer([]uint32{1}, []uint32{4}), byPeer([]uint32{1}, []uint32{5}), ""},
		{"same gid, other uids", byPeer([]uint32{1}, []uint32{4}), byPeer([]uint32{2}, []uint32{4}), ""},
		{"a uid and a gid", byPeer([]uint32{1}, nil), byPeer(nil, []uint32{1}), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := access.NewRegistry([]*access.Caller{knownBy(t, "a", tc.a), knownBy(t, "b", tc.b)})
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestByCertificate(t *testing.T) {
	registry := mustRegistry(t,
		// A * used to run over labels; what is to do so is written ** now.
		knownBy(t, "sync", bySAN("spiffe://prod/ns/crm/**", "*.crm.internal")),
		knownBy(t, "mail", bySAN("*@example.com", "10.1.**", "fd00::7")),
		knownBy(t, "narrow", bySAN("spiffe://prod/ns/crm/sa/narrow")),
		newCaller(t, "keyed", secret.New(testKey)))
	for _, tc := range []struct {
		name string
		san  string
		want string
		err  error
	}{
		{"URI", "spiffe://prod/ns/crm/sa/sync", "sync", nil},
		{"URI in another case", "spiffe://prod/ns/CRM/sa/sync", "", access.ErrNoCaller},
		{"URI of another trust domain", "spiffe://dev/ns/crm/sa/sync", "", access.ErrNoCaller},
		{"URI that ends like the DNS glob", "spiffe://dev/x.crm.internal", "", access.ErrNoCaller},
		{"two callers", "spiffe://prod/ns/crm/sa/narrow", "", access.ErrSeveralCallers},
		{"DNS name", "a.crm.internal", "sync", nil},
		{"DNS name in another case", "A.CRM.Internal", "sync", nil},
		{"other DNS name", "crm.internal", "", access.ErrNoCaller},
		{"e-mail address", "bob@example.com", "mail", nil},
		{"e-mail address in another case", "bob@EXAMPLE.com", "", access.ErrNoCaller},
		{"e-mail address that ends like the DNS glob", "bob@a.crm.internal", "", access.ErrNoCaller},
		{"IP address", "10.1.2.3", "mail", nil},
		{"IPv6 address", "fd00::7", "mail", nil},
		{"other IP address", "10.2.1.3", "", access.ErrNoCaller},
		{"two names of two callers", "a.crm.internal 10.1.2.3", "", access.ErrSeveralCallers},
		{"two names of one caller", "a.crm.internal b.crm.internal", "sync", nil},
		{"no names", "", "", access.ErrNoCaller},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert := certificateOf(t, tc.san)
			cert.Subject.CommonName = "a.crm.internal"
			wantCaller(t, tc.want, tc.err)(registry.ByCertificate(cert))
		})
	}
	for _, glob := range []string{"*", "**"} {
		everyone := mustRegistry(t, knownBy(t, "any", bySAN(glob)))
		wantCaller(t, "any", nil)(everyone.ByCertificate(certificateOf(t, "spiffe://x/y")))
		wantCaller(t, "", access.ErrNoCaller)(everyone.ByCertificate(certificateOf(t, "spiffe://x/a/../y")))
		wantCaller(t, "any", nil)(everyone.ByCertificate(certificateOf(t, "spiffe://x/a/../y a.internal")))
	}
	everyone := mustRegistry(t, knownBy(t, "any", bySAN("*")))
	wantCaller(t, "any", nil)(everyone.ByCertificate(certificateOf(t, "spiffe://x/y")))
	wantCaller(t, "", access.ErrNoCaller)(everyone.ByCertificate(certificateOf(t, "")))
}

// certificateOf returns a certificate with names, separated by spaces.
func certificateOf(t testing.TB, names string) *x509.Certificate {
	t.Helper()
	cert := new(x509.Certificate)
	for name := range strings.FieldsSeq(names) {
		ip := net.ParseIP(name)
		switch {
		case ip != nil:
			cert.IPAddresses = append(cert.IPAddresses, ip)
		case strings.Contains(name, "://"):
			u, err := url.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, u)
		case strings.Contains(name, "@"):
			cert.EmailAddresses = append(cert.EmailAddresses, name)
		default:
			cert.DNSNames = append(cert.DNSNames, name)
		}
	}
	return cert
}

// wantCaller returns a check of what a method of the registry returned.
func wantCaller(t *testing.T, want string, wantErr error) func(*access.Caller, error) {
	return func(caller *access.Caller, err error) {
		t.Helper()
		got := ""
		if caller != nil {
			got = caller.Name()
		}
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("got %q, %v, want %q, %v", got, err, want, wantErr)
		}
	}
}

func TestByToken(t *testing.T) {
	const issuer = "https://kubernetes.default.svc"
	registry := mustRegistry(t,
		knownBy(t, "sync", byToken(issuer, "hubspot-sidecar", "system:serviceaccount:crm:*")),
		knownBy(t, "jobs", byToken(issuer, "hubspot-jobs", "system:serviceaccount:crm:*")),
		knownBy(t, "other", byToken("https://other.example.com", "hubspot-sidecar", "*")))
	for _, tc := range []struct {
		name, issuer, subject string
		audience              []string
		want                  string
		err                   error
	}{
		{"match", issuer, "system:serviceaccount:crm:sync", []string{"hubspot-sidecar"}, "sync", nil},
		{"one of two audiences", issuer, "system:serviceaccount:crm:sync", []string{"x", "hubspot-jobs"}, "jobs", nil},
		{"audiences of two callers", issuer, "system:serviceaccount:crm:sync", []string{"hubspot-sidecar", "hubspot-jobs"}, "", access.ErrSeveralCallers},
		{"other subject", issuer, "system:serviceaccount:web:sync", []string{"hubspot-sidecar"}, "", access.ErrNoCaller},
		{"subject in another case", issuer, "system:serviceaccount:CRM:sync", []string{"hubspot-sidecar"}, "", access.ErrNoCaller},
		{"other issuer", "https://other.example.com", "system:serviceaccount:crm:sync", []string{"hubspot-sidecar"}, "other", nil},
		{"unknown issuer", issuer + "/", "system:serviceaccount:crm:sync", []string{"hubspot-sidecar"}, "", access.ErrNoCaller},
		{"no audience", issuer, "system:serviceaccount:crm:sync", nil, "", access.ErrNoCaller},
		{"audience as a glob", issuer, "system:serviceaccount:crm:sync", []string{"*"}, "", access.ErrNoCaller},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantCaller(t, tc.want, tc.err)(registry.ByToken(tc.issuer, tc.subject, tc.audience))
		})
	}
}

func TestByPeer(t *testing.T) {
	registry := mustRegistry(t,
		knownBy(t, "sync", byPeer([]uint32{1000, 1001}, nil)),
		knownBy(t, "staff", byPeer(nil, []uint32{50})),
		knownBy(t, "both", byPeer([]uint32{0}, []uint32{7, 8})))
	for _, tc := range []struct {
		name     string
		uid, gid uint32
		want     string
		err      error
	}{
		{"by user", 1001, 1, "sync", nil},
		{"by group", 1, 50, "staff", nil},
		{"by user and group", 0, 8, "both", nil},
		{"user of both, group of none", 0, 9, "", access.ErrNoCaller},
		{"group of both, user of none", 1, 7, "", access.ErrNoCaller},
		{"two callers", 1000, 50, "", access.ErrSeveralCallers},
		{"nobody", 1, 1, "", access.ErrNoCaller},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantCaller(t, tc.want, tc.err)(registry.ByPeer(tc.uid, tc.gid))
		})
	}
}

func TestIdentitiesDoNotMix(t *testing.T) {
	keyed := mustRegistry(t, newCaller(t, "keyed", secret.New(testKey)))
	if keyed.HasCertificates() || keyed.HasTokens() || keyed.HasPeers() {
		t.Error("a caller with a key only is known by something else")
	}
	wantCaller(t, "", access.ErrNoCaller)(keyed.ByPeer(0, 0))
	wantCaller(t, "", access.ErrNoCaller)(keyed.ByToken("", "", nil))
	wantCaller(t, "", access.ErrNoCaller)(new(access.Registry).ByCertificate(certificateOf(t, "a.internal")))

	config := bySAN("a.internal")
	config.UIDs, config.Token, config.Keys = []uint32{7}, byToken("i", "a", "s").Token, []secret.Text{secret.New(testKey)}
	all := mustRegistry(t, knownBy(t, "all", config))
	if !all.HasCertificates() || !all.HasTokens() || !all.HasPeers() {
		t.Error("a caller is not known by everything it has")
	}
	wantCaller(t, "all", nil)(all.ByCertificate(certificateOf(t, "a.internal")))
	wantCaller(t, "all", nil)(all.ByToken("i", "s", []string{"a"}))
	wantCaller(t, "all", nil)(all.ByPeer(7, 1))
}

func BenchmarkByCertificate(b *testing.B) {
	registry := mustRegistry(b,
		knownBy(b, "sync", bySAN("spiffe://prod/ns/crm/**", "*.crm.internal")),
		knownBy(b, "jobs", bySAN("spiffe://prod/ns/jobs/**")))
	cert := certificateOf(b, "spiffe://prod/ns/jobs/sa/nightly")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.ByCertificate(cert); err != nil {
			b.Fatal(err)
		}
	}
}
