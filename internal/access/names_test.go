package access_test

import (
	"errors"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
)

func TestNamesMatchLabelByLabel(t *testing.T) {
	for _, tc := range []struct {
		glob, name string
		want       bool
	}{
		{"*.crm.internal", "a.crm.internal", true},
		{"*.crm.internal", "A.CRM.internal", true},
		{"*.crm.internal", "evil.a.crm.internal", false},
		{"*.crm.internal", ".crm.internal", false},
		{"*.crm.internal", "a.crmxinternal", false},
		{"a-*.crm.internal", "a-.crm.internal", true},
		{"a-*.crm.internal", "a-1.b.crm.internal", false},
		{"a.*", "a.internal", true},
		{"a.*", "a.crm.internal", false},
		{"**.crm.internal", "evil.a.crm.internal", true},
		{"**.crm.internal", "crm.internal", false},
		{"**.crm.internal", ".crm.internal", false},
		{"a**internal", "a.b.internal", true},

		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/sync", true},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/a:b", true},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/sa/sync", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/a?b", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/a#b", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/../../ns/admin", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/..", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/%2e%2E", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/..%2f..%2fns%2fadmin", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/a%2Fb", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/a%5cb", false},
		{"spiffe://prod/ns/crm/*", "spiffe://prod/ns/crm/.a", true},
		{"spiffe://prod/ns/*/sa/*", "spiffe://prod/ns/crm/sa/sync", true},
		{"spiffe://prod/ns/*/sa/*", "spiffe://prod/ns/crm/x/sa/sync", false},
		{"spiffe://prod/ns/crm/**", "spiffe://prod/ns/crm/sa/sync", true},
		{"spiffe://prod/ns/crm/**", "spiffe://prod/ns/crm/../../ns/admin", false},
		{"spiffe://prod/ns/crm/**", "spiffe://prod/ns/crm/./a", false},
		{"spiffe://prod/ns/crm/**", "spiffe://prod/ns/crm/%252e%252e/admin", false},
		{"spiffe://prod/ns/crm/**", "spiffe://prod/ns/crm//admin", false},
		{"spiffe://prod/ns/crm/**", "spiffe://prod/ns/crm/a/", false},
		{"spiffe://*/ns/crm", "spiffe://prod/ns/crm", true},
		{"spiffe://*/ns/crm", "spiffe://evil.prod/ns/crm", false},
		{"spiffe://*.prod/ns/crm", "spiffe://evil.a.prod/ns/crm", false},
		{"https://a.internal*/x", "https://a.internal:443/x", false},
		{"https://a.internal/", "https://a.internal/", true},
		{"urn://**", "urn://x/y/z", true},
		{"**://prod/x", "spiffe://prod/x", true},

		{"*@example.com", "bob@example.com", true},
		{"*@example.com", "bob.b@example.com", true},
		{"*@example.com", "bob@evil@example.com", false},
		{"*@example.com", "@example.com", false},
		{"bob@*.example.com", "bob@a.example.com", true},
		{"bob@*.example.com", "bob@evil.a.example.com", false},
		{"bob@**.example.com", "bob@evil.a.example.com", true},
		{"bob@*", "bob@example.com", false},

		{"10.1.*.*", "10.1.2.3", true},
		{"10.1.2.*", "10.1.2.3", true},
		{"10.1.*.3", "10.1.2.2", false},
		{"10.1.2*.3", "10.1.25.3", true},
		{"10.1.**", "10.1.2.3", true},
		{"10.1.**", "10.11.2.3", false},
		{"fd00::*", "fd00::7", true},
		{"fd00::*", "fd00::1:7", false},
		{"fd00:**", "fd00::1:7", true},
	} {
		registry := mustRegistry(t, knownBy(t, "a", bySAN(tc.glob)))
		_, err := registry.ByCertificate(certificateOf(t, tc.name))
		if err != nil && !errors.Is(err, access.ErrNoCaller) {
			t.Fatal(err)
		}
		if got := err == nil; got != tc.want {
			t.Errorf("%s matches %s: %v, want %v", tc.glob, tc.name, got, tc.want)
		}
	}
}
