package sandbox_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestAuthorizeShowsProblemsInsteadOfRedirecting(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		demo := sandbox.DemoApp()
		demo.ConditionalScopes = []string{"tickets"}
		o.Apps = []sandbox.App{demo, {
			ClientID: "registered", ClientSecret: secret.New("s"), Scopes: []string{"oauth"},
			RedirectURIs: []string{"https://app.example.com/cb"},
		}}
	})
	tests := []struct {
		name, path, want string
	}{
		{"unknown client", authorizePath("client_id", "nobody"), "client ID is missing or doesn&#39;t match any app"},
		{"no client", authorizePath("client_id", "-"), "client ID is missing"},
		{"no redirect", authorizePath("redirect_uri", "-"), "doesn&#39;t match the app&#39;s registered redirect URL"},
		{"ip address", authorizePath("redirect_uri", "http://127.0.0.1:3000/"), "IP addresses are not supported"},
		{"ipv6 address", authorizePath("redirect_uri", "https://[::1]/"), "IP addresses are not supported"},
		{"plain http", authorizePath("redirect_uri", "http://app.example.com/"), "must be https"},
		{"unregistered", authorizePath("client_id", "registered", "scope", "oauth", "redirect_uri", "https://app.example.com/cb/"), "the redirect URL &#39;https://app.example.com/cb/&#39; doesn&#39;t match"},
		{"required scope missing", authorizePath("scope", "oauth"), "the provided scopes are insufficient"},
		{"required scope optional", authorizePath("scope", "oauth", "optional_scope", "crm.objects.contacts.read"), "the provided scopes are insufficient"},
		{"unknown scope", authorizePath("scope", demoScopes+" content"), "mismatch between the scopes in the install URL"},
		{"optional scope in scope", authorizePath("scope", demoScopes+" crm.objects.deals.read"), "mismatch between"},
		{"conditional scope optional", authorizePath("optional_scope", "tickets"), "mismatch between"},
		{"unknown optional scope", authorizePath("optional_scope", "content"), "mismatch between"},
		{"response type", authorizePath("response_type", "token"), "response_type must be code"},
		{"plain pkce", authorizePath("code_challenge", "abc"), "must be S256"},
		{"unknown portal", strings.Replace(authorizePath(), "/oauth/", "/oauth/99/", 1), "have access to this account"},
		{"odd portal", strings.Replace(authorizePath(), "/oauth/", "/oauth/x/", 1), "have access to this account"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, suffix := range []string{"", "&_sandbox_approve=" + hub(sandbox.DemoHubID)} {
				a := r.do("GET", tt.path+suffix, "").want(http.StatusBadRequest).has(tt.want, "This is not HubSpot")
				if a.header.Get("Location") != "" {
					t.Error("redirected")
				}
			}
		})
	}
	t.Run("good ones", func(t *testing.T) {
		for _, path := range []string{
			authorizePath("scope", demoScopes+" tickets"),
			authorizePath("redirect_uri", "https://app.example.com/anything?x=1"),
			authorizePath("redirect_uri", "http://localhost/"),
			authorizePath("response_type", "code"),
			authorizePath("client_id", "registered", "scope", "oauth", "redirect_uri", "https://app.example.com/cb"),
		} {
			r.do("GET", path, "").want(http.StatusOK).has("Connect app")
		}
	})
}

var inputs = regexp.MustCompile(`<input type="(hidden|radio|checkbox)" name="(\w+)" value="([^"]*)"( checked)?`)

// fields are what a browser would send of the form in a page.
func fields(page string) url.Values {
	out := url.Values{}
	for _, m := range inputs.FindAllStringSubmatch(page, -1) {
		if m[1] == "hidden" || m[4] != "" {
			out.Add(m[2], html.UnescapeString(m[3]))
		}
	}
	return out
}

func TestConsentPage(t *testing.T) {
	r := newRig(t, nil)
	optional := "crm.objects.contacts.write crm.objects.deals.read"
	a := r.do("GET", authorizePath("optional_scope", optional), "").want(http.StatusOK)
	a.has("This is not HubSpot", "acme.example.com", "globex.example.com", "lacks crm.objects.deals.read",
		"<code>oauth</code>", "Connect app", "Cancel")

	t.Run("loads nothing", func(t *testing.T) {
		policy := a.header.Get("Content-Security-Policy")
		style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(a.body)[1]
		digest := sha256.Sum256([]byte(style))
		want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, want) || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("policy %q lacks %q or is too open", policy, want)
		}
		for _, bad := range []string{"<script", "src=", "url(", "@import", "<link"} {
			if strings.Contains(a.body, bad) {
				t.Errorf("page has %q", bad)
			}
		}
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q", got)
		}
	})

	send := func(f url.Values, header ...string) answer {
		return r.do("POST", "/oauth/authorize", f.Encode(), append([]string{"Content-Type", form}, header...)...)
	}
	t.Run("connect", func(t *testing.T) {
		f := fields(a.body)
		f.Set("action", "connect")
		to := location(t, send(f).want(http.StatusFound))
		if !strings.HasPrefix(to.String(), redirectURI+"?") || to.Query().Get("state") != "st ate&1" || to.Query().Get("error") != "" {
			t.Errorf("redirected to %s", to)
		}
		if code := to.Query().Get("code"); !regexp.MustCompile(`^na1-[0-9a-f-]{36}$`).MatchString(code) {
			t.Errorf("code has an odd shape")
		}
	})
	t.Run("declined optional scope", func(t *testing.T) {
		f := fields(a.body)
		f.Set("action", "connect")
		f.Set("optional", "crm.objects.deals.read")
		code := location(t, send(f).want(http.StatusFound)).Query().Get("code")
		got := r.post(tokenPath, "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI).want(200).at("scopes")
		if want := []any{"oauth", "crm.objects.contacts.read", "crm.objects.deals.read"}; !slices.Equal(got.([]any), want) {
			t.Errorf("scopes %v, want %v", got, want)
		}
	})
	t.Run("ticking what was not asked for", func(t *testing.T) {
		f := fields(a.body)
		f.Set("action", "connect")
		f.Add("optional", "crm.objects.deals.write")
		code := location(t, send(f).want(http.StatusFound)).Query().Get("code")
		got := r.post(tokenPath, "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI).want(200)
		if strings.Contains(got.body, "deals.write") {
			t.Errorf("granted a scope that the install URL did not name: %s", got.at("scopes"))
		}
	})
	t.Run("cancel tells the app nothing", func(t *testing.T) {
		f := fields(a.body)
		f.Set("action", "cancel")
		if got := send(f).want(http.StatusOK).has("You cancelled"); got.header.Get("Location") != "" {
			t.Error("redirected")
		}
	})
	t.Run("forged form", func(t *testing.T) {
		for name, change := range map[string]func(url.Values){
			"no token":        func(f url.Values) { f.Del("token") },
			"wrong token":     func(f url.Values) { f.Set("token", "AAAA") },
			"another request": func(f url.Values) { f.Set("request", f.Get("request")+"&state=mine") },
		} {
			f := fields(a.body)
			f.Set("action", "connect")
			change(f)
			if got := send(f); got.status != http.StatusForbidden {
				t.Errorf("%s: status %d, want 403", name, got.status)
			}
		}
	})
	t.Run("from another site", func(t *testing.T) {
		f := fields(a.body)
		f.Set("action", "connect")
		send(f, "Sec-Fetch-Site", "cross-site").want(http.StatusForbidden)
		send(f, "Origin", "https://evil.example").want(http.StatusForbidden)
		send(f, "Sec-Fetch-Site", "same-origin", "Origin", r.url).want(http.StatusFound)
	})
	t.Run("fixed account", func(t *testing.T) {
		path := strings.Replace(authorizePath(), "/oauth/", "/oauth/"+hub(sandbox.DemoLimitedHubID)+"/", 1)
		page := r.do("GET", path, "").want(http.StatusOK).has("globex.example.com")
		if strings.Contains(page.body, "acme.example.com") {
			t.Error("the other account is offered")
		}
		f := fields(page.body)
		f.Set("action", "connect")
		f.Set("hub_id", hub(sandbox.DemoHubID))
		send(f).want(http.StatusBadRequest).has("for another account")
	})
}

func TestConsentByScript(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		o.Portals = append(sandbox.DemoPortals(), sandbox.Portal{HubID: 7, LacksScopes: []string{"crm.objects.contacts.read"}})
	})
	approve := hub(sandbox.DemoLimitedHubID)
	t.Run("approve", func(t *testing.T) {
		code := r.code("_sandbox_approve", approve)
		if !strings.HasPrefix(code, "eu1-") {
			t.Errorf("code of an EU account begins %.4s", code)
		}
		a := r.post(tokenPath, "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI).want(200)
		if strings.Contains(a.body, "deals") || !strings.Contains(a.body, "companies.write") {
			t.Errorf("scopes %v: those the account lacks must be dropped, the others kept", a.at("scopes"))
		}
	})
	t.Run("choose optional scopes", func(t *testing.T) {
		code := r.code("_sandbox_approve", approve, "_sandbox_optional", "crm.objects.companies.read")
		a := r.post(tokenPath, "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI).want(200)
		if got := a.at("scopes").([]any); len(got) != 3 {
			t.Errorf("scopes %v", got)
		}
	})
	t.Run("account lacks a required scope", func(t *testing.T) {
		r.do("GET", authorizePath("_sandbox_approve", "7"), "").want(http.StatusForbidden).
			has("doesn&#39;t have access to all of the app&#39;s required scopes", "contacts.read")
	})
	t.Run("unknown account", func(t *testing.T) {
		r.do("GET", authorizePath("_sandbox_approve", "8"), "").want(http.StatusBadRequest)
	})
	t.Run("deny", func(t *testing.T) {
		q := location(t, r.do("GET", authorizePath("_sandbox_deny", "access_denied"), "").want(http.StatusFound)).Query()
		if q.Get("error") != "access_denied" || q.Get("error_description") == "" || q.Get("state") != "st ate&1" || q.Has("code") {
			t.Errorf("query %v", q)
		}
	})
	t.Run("redirect URI with a query, no state", func(t *testing.T) {
		u := location(t, r.do("GET", authorizePath("_sandbox_approve", approve, "state", "-", "redirect_uri", "https://a.example.com/cb?x=1&y=%2F"), "").want(http.StatusFound))
		if !strings.HasPrefix(u.RawQuery, "x=1&y=%2F&code=") || u.Query().Has("state") {
			t.Errorf("query %s", u.RawQuery)
		}
	})
	t.Run("not for other sites", func(t *testing.T) {
		r.do("GET", authorizePath("_sandbox_approve", approve), "", "Sec-Fetch-Site", "cross-site").want(http.StatusForbidden)
		r.do("GET", authorizePath("_sandbox_approve", approve), "", "Sec-Fetch-Site", "same-site").want(http.StatusFound)
	})
}
