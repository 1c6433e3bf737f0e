package install_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

func TestAuthLinkFlow(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	callback := k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID)
	got := k.Do(http.MethodGet, callback, nil)
	if got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("callback: %s: %s", got.Status, got.Text)
	}
	installtest.CheckBrowserAnswer(t, got)
	for _, want := range []string{"Connected to HubSpot", "<dd>hbdev</dd>", "<dd>62515001</dd>"} {
		if !strings.Contains(got.Text, want) {
			t.Errorf("the result lacks %q:\n%s", want, got.Text)
		}
	}
	if strings.Contains(got.Text, "Not everything") {
		t.Error("the result speaks of missing scopes")
	}

	one := k.Get("/hubspot/connections/hbdev/acme", "")
	var shown struct {
		User        string    `json:"userForeignIdentifier"`
		HubID       int64     `json:"hubId"`
		Scopes      []string  `json:"scopes"`
		Status      string    `json:"status"`
		ConnectedAt time.Time `json:"connectedAt"`
		ExpiresAt   time.Time `json:"expiresAt"`
	}
	one.JSON(t, &shown)
	if shown.User != "acme" || shown.HubID != sandbox.DemoHubID || shown.Status != "active" || len(shown.Scopes) != 4 ||
		time.Since(shown.ConnectedAt) > time.Minute || time.Until(shown.ExpiresAt) < time.Minute {
		t.Errorf("connection: %s: %s", one.Status, one.Text)
	}

	calls := k.TokenCalls()
	replay := k.Do(http.MethodGet, callback, nil)
	if replay.StatusCode != http.StatusBadRequest || !strings.Contains(replay.Text, "used already") {
		t.Errorf("replay: %s: %s", replay.Status, replay.Text)
	}
	if now := k.TokenCalls(); now != calls {
		t.Error("a replay is taken to HubSpot")
	}
}

func TestAuthAnswersAsJSON(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	callback := k.Approve(k.InstallLink("hbdev", "acme", "")+"&_sandbox_optional=", sandbox.DemoHubID)
	got := k.Do(http.MethodGet, callback, nil, "Accept", "application/json, text/plain, */*")
	want := `{"message":"User Registered","userForeignIdentifier":"acme","hubId":62515001,"missingScopes":["crm.objects.contacts.write","crm.objects.companies.read"]}` + "\n"
	if got.StatusCode != http.StatusOK || got.Text != want {
		t.Errorf("callback: %s: %s", got.Status, got.Text)
	}
	installtest.CheckBrowserAnswer(t, got)

	callback = k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoHubID)
	got = k.Do(http.MethodGet, callback, nil, "Accept", "application/json")
	if want := `{"message":"User Registered","userForeignIdentifier":"acme","hubId":62515001}` + "\n"; got.Text != want {
		t.Errorf("callback: %s: %s", got.Status, got.Text)
	}
	replay := k.Do(http.MethodGet, callback, nil, "Accept", "application/json")
	var problem struct {
		Status, Category, SubCategory, Message string
		Context                                map[string][]string
	}
	replay.JSON(t, &problem)
	if replay.StatusCode != http.StatusBadRequest || problem.Category != "SIDECAR" || problem.SubCategory != "bad_request" ||
		!slices.Equal(problem.Context["reason"], []string{"state_used"}) || !slices.Equal(problem.Context["app"], []string{"hbdev"}) {
		t.Errorf("replay: %s: %s", replay.Status, replay.Text)
	}
	installtest.CheckBrowserAnswer(t, replay)
}

func TestAuthShowsMissingScopes(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	callback := k.Approve(k.InstallLink("hbdev", "acme", "")+"&_sandbox_optional=crm.objects.contacts.write", sandbox.DemoHubID)
	got := k.Do(http.MethodGet, callback, nil)
	if got.StatusCode != http.StatusOK || !strings.Contains(got.Text, "<li><code>crm.objects.companies.read</code></li>") ||
		strings.Contains(got.Text, "<li><code>crm.objects.contacts.write</code></li>") {
		t.Errorf("result: %s: %s", got.Status, got.Text)
	}
}

func TestAuthReturnTo(t *testing.T) { //nolint:tparallel // its subtests come one after the other
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	tests := map[string]struct{ returnTo, want string }{
		"plain":        {"https://app.example.com", "https://app.example.com/?hubspot=connected&app=hbdev"},
		"with a query": {"https://app.example.com/a?b=c%20d#/e", "https://app.example.com/a?b=c%20d&hubspot=connected&app=hbdev#/e"},
		// What an earlier install left in the address is replaced.
		"of an earlier install": {"https://app.example.com/a?hubspot=failed&app=hbdev&reason=denied&b=c", "https://app.example.com/a?b=c&hubspot=connected&app=hbdev"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			link := k.InstallLink("hbdev", "acme", "&return_to="+url.QueryEscape(tt.returnTo))
			got := k.Do(http.MethodGet, k.Approve(link, sandbox.DemoHubID), nil)
			if got.StatusCode != http.StatusFound || got.Header.Get("Location") != tt.want || got.Text != "" {
				t.Errorf("callback: %s to %q: %q", got.Status, got.Header.Get("Location"), got.Text)
			}
			installtest.CheckBrowserAnswer(t, got)
		})
	}

	t.Run("no longer allowed", func(t *testing.T) {
		link := k.InstallLink("hbdev", "acme", "&return_to=https://app.example.com/x")
		callback := k.Approve(link, sandbox.DemoHubID)
		k.Reload(installtest.Config{Install: func(c *install.Config) { c.ReturnTo = nil }})
		got := k.Do(http.MethodGet, callback, nil)
		if got.StatusCode != http.StatusOK || got.Header.Get("Location") != "" || !strings.Contains(got.Text, "Connected to HubSpot") {
			t.Errorf("callback: %s to %q: %s", got.Status, got.Header.Get("Location"), got.Text)
		}
	})
}

func TestAuthBrowserFlow(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	link, cookies := k.Begin("/hubspot/HBDEV/connect?return_to=https://app.example.com/done", "acme")
	if !strings.HasPrefix(link, k.SandboxURL+"/oauth/authorize?") {
		t.Fatalf("connect leads to %q", link)
	}
	if !regexp.MustCompile(`^hubspot-connect-[0-9a-f]{16}=[A-Z2-7]{26}$`).MatchString(cookies) {
		t.Errorf("cookies of an install on http://localhost are %q", cookies)
	}
	callback := k.Approve(link, sandbox.DemoHubID)

	calls := k.TokenCalls()
	for name, other := range map[string]string{
		"no cookie": "", "another value": cookies + "x", "another install's": strings.Replace(cookies, "connect-", "connect-0", 1),
	} {
		// The install goes back to where it came from; before it got a page.
		got := k.Do(http.MethodGet, callback, nil, "Cookie", other)
		if want := "https://app.example.com/done?hubspot=failed&app=hbdev&reason=other_browser"; got.StatusCode != http.StatusFound || got.Header.Get("Location") != want {
			t.Errorf("%s: %s to %q: %s", name, got.Status, got.Header.Get("Location"), got.Text)
		}
	}
	link, _ = k.Begin("/hubspot/hbdev/connect", "acme")
	if got := k.Do(http.MethodGet, k.Approve(link, sandbox.DemoHubID), nil); got.StatusCode != http.StatusBadRequest ||
		!strings.Contains(got.Text, "another browser") || !strings.Contains(got.Text, `href="/hubspot/hbdev/connect"`) {
		t.Errorf("without an address to return to: %s: %s", got.Status, got.Text)
	}
	if now := k.TokenCalls(); now != calls {
		t.Error("the code of another browser's install is taken to HubSpot")
	}

	got := k.Do(http.MethodGet, callback, nil, "Cookie", cookies)
	if got.StatusCode != http.StatusFound || got.Header.Get("Location") != "https://app.example.com/done?hubspot=connected&app=hbdev" {
		t.Errorf("callback: %s to %q: %s", got.Status, got.Header.Get("Location"), got.Text)
	}
	name, _, _ := strings.Cut(cookies, "=")
	if cleared := got.Cookies(); len(cleared) != 1 || cleared[0].Name != name || cleared[0].MaxAge >= 0 {
		t.Errorf("the cookie is not cleared: %v", got.Header["Set-Cookie"])
	}
	if one := k.Get("/hubspot/connections/hbdev/acme", ""); one.StatusCode != http.StatusOK {
		t.Errorf("connection: %s: %s", one.Status, one.Text)
	}
}

func TestAuthSecureCookie(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	got := k.Do(http.MethodGet, "/hubspot/hbprod/connect", nil, installtest.SessionHeader, "acme")
	want := regexp.MustCompile(`^__Host-hubspot-connect-[0-9a-f]{16}=[A-Z2-7]{26}; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax$`)
	if cookies := got.Header["Set-Cookie"]; len(cookies) != 1 || !want.MatchString(cookies[0]) {
		t.Errorf("cookies are %q", cookies)
	}
	callback := k.Approve(got.Header.Get("Location"), sandbox.DemoHubID)
	callback = strings.Replace(callback, "https://app.example.com", sidecartest.Base, 1)
	done := k.Do(http.MethodGet, callback, nil, "Cookie", installtest.Cookies(got))
	if done.StatusCode != http.StatusOK || !strings.Contains(done.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("callback: %s, cookies %q", done.Status, done.Header["Set-Cookie"])
	}
}

// Every outcome clears the install's own cookie, and leaves others alone.
func TestAuthClearsCookies(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	_, other := k.Begin("/hubspot/hbdev/connect", "acme")
	tests := map[string]func(state string) string{
		"denied":                 func(state string) string { return "error=access_denied&state=" + state },
		"code refused":           func(state string) string { return "code=na1-none&state=" + state },
		"no code":                func(state string) string { return "state=" + state },
		"denied without a state": func(string) string { return "error=access_denied" },
	}
	for name, query := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link, cookies := k.Begin("/hubspot/hbdev/connect", "acme")
			state := sidecartest.QueryOf(t, link, "state")
			got := k.Do(http.MethodGet, "/hubspot/hbdev/callback?"+query(state), nil, "Cookie", "session=1; "+other+"; "+cookies)
			var cleared []string
			for _, c := range got.Cookies() {
				if c.MaxAge < 0 {
					cleared = append(cleared, c.Name)
				}
			}
			own, _, _ := strings.Cut(cookies, "=")
			want := []string{own}
			if name == "denied without a state" {
				another, _, _ := strings.Cut(other, "=")
				want = []string{another, own}
			}
			if !slices.Equal(cleared, want) {
				t.Errorf("cleared %v, want %v", cleared, want)
			}
		})
	}
}

// Each state that cannot be used is refused by name, before HubSpot is asked.
func TestAuthRefusesStates(t *testing.T) { //nolint:tparallel // its subtests come one after the other
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	good := func(*oauthstate.State) {}
	tests := map[string]struct{ path, query, outcome, text string }{
		"garbage": {"hbdev", "code=c&state=garbage", "state_malformed", "not valid"},
		"altered": {"hbdev", "code=c&state=" + k.Sealed("hbdev", good) + "AAAA", "state_malformed", "not valid"},
		"expired": {"hbdev", "code=c&state=" + k.Sealed("hbdev", func(st *oauthstate.State) {
			st.IssuedAt = st.IssuedAt.Add(-oauthstate.Lifetime - time.Second)
		}), "state_expired", "expired"},
		"wrong app": {"hbdev", "code=c&state=" + k.Sealed("hbprod", good), "state_wrong_app", "another app"},
		"wrong browser": {"hbdev", "code=c&state=" + k.Sealed("hbdev", func(st *oauthstate.State) {
			st.BrowserHash = install.BrowserHash("x")
		}), "state_wrong_browser", "another browser"},
		"no state":      {"hbdev", "code=c", "no_state", "start from the application"},
		"empty state":   {"hbdev", "code=c&state=", "no_state", "start from the application"},
		"no code":       {"hbdev", "state=" + k.Sealed("hbdev", good), "incomplete", "start from the application"},
		"nothing":       {"hbdev", "", "incomplete", "start from the application"},
		"two states":    {"hbdev", "code=c&state=a&state=" + k.Sealed("hbdev", good), "bad_query", "damaged"},
		"two codes":     {"hbdev", "code=c&code=d&state=" + k.Sealed("hbdev", good), "bad_query", "damaged"},
		"broken query":  {"hbdev", "code=%zz&state=x", "bad_query", "damaged"},
		"semicolon":     {"hbdev", "code=c;state=x", "bad_query", "damaged"},
		"other's error": {"hbprod", "code=c&state=" + k.Sealed("hbdev", good), "state_wrong_app", "another app"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			target := "/hubspot/" + tt.path + "/callback?" + tt.query
			got := k.Do(http.MethodGet, target, nil)
			if got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Text, tt.text) || got.Header.Get("Location") != "" {
				t.Errorf("page: %s: %s", got.Status, got.Text)
			}
			installtest.CheckBrowserAnswer(t, got)
			var problem struct{ Context map[string][]string }
			k.Do(http.MethodGet, target, nil, "Accept", "application/json").JSON(t, &problem)
			if !slices.Equal(problem.Context["reason"], []string{tt.outcome}) {
				t.Errorf("reason is %v, want %s", problem.Context["reason"], tt.outcome)
			}
		})
	}
	if n := k.TokenCalls(); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
}

func TestAuthPortalChange(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	k.Connect("acme", sandbox.DemoHubID)
	portal := func() int64 {
		var shown callerapi.View
		k.Get("/hubspot/connections/hbdev/acme", "").JSON(t, &shown)
		return shown.HubID
	}
	got := k.Do(http.MethodGet, k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoLimitedHubID), nil)
	if got.StatusCode != http.StatusConflict || !strings.Contains(got.Text, "another HubSpot account") {
		t.Errorf("portal change: %s: %s", got.Status, got.Text)
	}
	if portal() != sandbox.DemoHubID {
		t.Error("the connection has moved")
	}
	got = k.Do(http.MethodGet, k.Approve(k.InstallLink("hbdev", "acme", ""), sandbox.DemoLimitedHubID), nil, "Accept", "application/json")
	if got.StatusCode != http.StatusConflict || !strings.Contains(got.Text, `"subCategory":"portal_change"`) {
		t.Errorf("portal change: %s: %s", got.Status, got.Text)
	}
	if hits := k.Do(http.MethodGet, k.SandboxURL+"/_sandbox/stats", nil).Text; strings.Contains(hits, "/revoke") {
		t.Error("the stray grant was revoked")
	}

	link := k.InstallLink("hbdev", "acme", "&allow_portal_change=true")
	got = k.Do(http.MethodGet, k.Approve(link, sandbox.DemoLimitedHubID), nil)
	if got.StatusCode != http.StatusOK || portal() != sandbox.DemoLimitedHubID {
		t.Errorf("allowed portal change: %s, now %d", got.Status, portal())
	}
}

func TestAuthTwoUsersOfOnePortal(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	k.Connect("acme", sandbox.DemoHubID)
	events := new(events)
	k.App("hbdev").Manager.SetObserver(events)
	k.Connect("globex", sandbox.DemoHubID)
	for _, user := range []string{"acme", "globex"} {
		if got := k.Get("/hubspot/connections/hbdev/"+user, ""); got.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s", user, got.Status, got.Text)
		}
	}
	if !slices.Contains(events.kinds(), connection.EventPortalShared) {
		t.Error("the shared portal is not reported")
	}
}

// events notes what a manager reports.
type events struct {
	mu   sync.Mutex
	seen []connection.EventKind
}

func (e *events) Event(event connection.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, event.Kind)
}

func (e *events) kinds() []connection.EventKind {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen)
}

// What HubSpot calls its own trouble is not called the user's refusal, and a
// damaged address leads back where the install came from.
func TestAuthEndedOtherwise(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	state := func() string {
		return k.Sealed("hbdev", func(st *oauthstate.State) { st.ReturnTo = "https://app.example.com/x" })
	}
	for word, reason := range map[string]string{
		"server_error": "hubspot_unavailable", "temporarily_unavailable": "hubspot_unavailable",
		"access_denied": "denied", "invalid_scope": "denied",
	} {
		got := k.Do(http.MethodGet, "/hubspot/hbdev/callback?error="+word+"&state="+state(), nil)
		if want := "https://app.example.com/x?hubspot=failed&app=hbdev&reason=" + reason; got.Header.Get("Location") != want {
			t.Errorf("%s: %s to %q, want %q", word, got.Status, got.Header.Get("Location"), want)
		}
	}
	got := k.Do(http.MethodGet, "/hubspot/hbdev/callback?code=c&code=d&state="+state(), nil)
	if got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Text, `href="https://app.example.com/x`) {
		t.Errorf("two codes: %s: %s", got.Status, got.Text)
	}
	installtest.CheckBrowserAnswer(t, got)
}

func TestAuthDenied(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	link := k.InstallLink("hbdev", "acme", "&return_to=https://app.example.com/x")
	denied := k.Do(http.MethodGet, link+"&_sandbox_deny=access_denied", nil).Header.Get("Location")
	// It goes back by itself; before it got a page with a link there.
	got := k.Do(http.MethodGet, denied, nil)
	if got.StatusCode != http.StatusFound || got.Header.Get("Location") != "https://app.example.com/x?hubspot=failed&app=hbdev&reason=denied" {
		t.Errorf("denied: %s to %q", got.Status, got.Header.Get("Location"))
	}
	installtest.CheckBrowserAnswer(t, got)

	denied = k.Do(http.MethodGet, k.InstallLink("hbdev", "acme", "")+"&_sandbox_deny=access_denied", nil).Header.Get("Location")
	got = k.Do(http.MethodGet, denied, nil)
	if got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Text, "The user denied the app access") ||
		!strings.Contains(got.Text, `href="/hubspot/hbdev/connect"`) {
		t.Errorf("denied without an address to return to: %s: %s", got.Status, got.Text)
	}
	installtest.CheckBrowserAnswer(t, got)
	if one := k.Get("/hubspot/connections/hbdev/acme", ""); one.StatusCode != http.StatusNotFound {
		t.Errorf("connection: %s: %s", one.Status, one.Text)
	}

	evil := "/hubspot/hbdev/callback?error=%22%3E%3Cscript%3E&error_description=" +
		url.QueryEscape("<script>alert(1)</script>\u202e "+strings.Repeat("x", 1000))
	got = k.Do(http.MethodGet, evil, nil)
	if got.StatusCode != http.StatusBadRequest || strings.Contains(got.Text, "<script") || strings.Contains(got.Text, "\u202e") ||
		strings.Contains(got.Text, strings.Repeat("x", install.MaxQuote)) || !strings.Contains(got.Text, "&lt;script&gt;") {
		t.Errorf("denied by somebody else: %s: %s", got.Status, got.Text)
	}
	asJSON := k.Do(http.MethodGet, evil, nil, "Accept", "application/json")
	var problem struct{ Context map[string][]string }
	asJSON.JSON(t, &problem)
	if !slices.Equal(problem.Context["error"], []string{"unknown"}) || len([]rune(problem.Context["error_description"][0])) > install.MaxQuote+1 {
		t.Errorf("denied as JSON: %s", asJSON.Text)
	}
}
