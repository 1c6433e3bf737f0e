package relay_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

const peopleClientID = "5a4db0c5-0000-4000-8000-00000000aaaa"

// peopleOnlyKey is the key of a caller that may use the user-level app only.
const peopleOnlyKey = "people-only-caller-key-0123456789"

// startPeople starts a relay for the user-level app people, to which ann is
// connected, with the app hbdev to fall back on.
func startPeople(t *testing.T, fallback string) *harness {
	t.Helper()
	registered := sandbox.DemoApp()
	registered.ClientID, registered.UserLevel = peopleClientID, true
	account, people := sidecartest.App(), sidecartest.App()
	people.Name, people.ClientID, people.UserLevel, people.FallbackApp = "people", peopleClientID, true, fallback
	people.RedirectURI = strings.Replace(people.RedirectURI, "hbdev", "people", 1)
	h := start(t, sidecartest.Config{
		Apps: []appconfig.Resolved{account, people}, Audit: true,
		Sandbox: sandbox.Options{Apps: []sandbox.App{sandbox.DemoApp(), registered}},
		Callers: []access.CallerConfig{
			{Name: "people-only", Keys: []secret.Text{secret.New(peopleOnlyKey)}, Apps: []string{"people"}},
		},
	})
	h.use(func(c *relay.Config) { c.App = h.App("people") })
	h.InstallInSandbox("people", "ann", "101", sandbox.DemoHubID, "crm.objects.contacts.write")
	return h
}

// archive asks as ann for what user-level tokens are refused for. The sandbox has
// no such contact: an account-level token gets as far as a 404.
func archive(h *harness, header ...string) answer {
	h.t.Helper()
	header = append([]string{"X-HubSpot-User", "ann"}, header...)
	if len(header) == 2 {
		header = append(header, "Authorization", "Bearer "+testCallerKey)
	}
	return h.Do(http.MethodDelete, testBase+"/crm/objects/2026-09/contacts/99999999", nil, header...)
}

// wantRefused checks that HubSpot's refusal came through, and what it says of the
// fallback.
func wantRefused(t *testing.T, got answer, detail string) {
	t.Helper()
	if got.StatusCode != http.StatusForbidden || !strings.Contains(got.Text, "User level OAuth token is not allowed for this endpoint.") {
		t.Errorf("%s: %s", got.Status, got.Text)
	}
	if status := got.Header.Get("Proxy-Status"); !strings.HasSuffix(status, `; user_level_refused`+detail+`"`) {
		t.Errorf("Proxy-Status: %s, want %s", status, detail)
	}
	if by := got.Header.Get("X-HubSpot-Served-By"); by != "" {
		t.Errorf("served by %s", by)
	}
}

func TestUserLevelRefusalPasses(t *testing.T) {
	t.Parallel()
	h := startPeople(t, "")
	h.ConnectInSandbox("acme", sandbox.DemoHubID, "crm.objects.contacts.write")
	wantRefused(t, archive(h), "")
	if !strings.Contains(h.Logs.String(), "an account-level connection of the same HubSpot account would do") {
		t.Error("the log does not say which connection would do")
	}
	if got := h.Get(testBase+"/crm/objects/2026-09/contacts?limit=1", "ann"); got.StatusCode != http.StatusOK || strings.Contains(got.Header.Get("Proxy-Status"), "user_level") {
		t.Errorf("what is not refused: %s", got.Status)
	}
}

// The fallback's connection serves what the person's token may not, and that is
// said everywhere.
func TestFallbackAppServes(t *testing.T) {
	t.Parallel()
	h := startPeople(t, "hbdev")
	h.ConnectInSandbox("elsewhere", sandbox.DemoLimitedHubID, "crm.objects.contacts.write")
	h.ConnectInSandbox("older", sandbox.DemoHubID, "crm.objects.contacts.write")
	h.ConnectInSandbox("newer", sandbox.DemoHubID, "crm.objects.contacts.write")
	got := archive(h)
	if got.StatusCode != http.StatusNotFound || got.Header.Get("X-HubSpot-Served-By") != "hbdev" ||
		!strings.HasSuffix(got.Header.Get("Proxy-Status"), `details="tries=2; served_by=hbdev"`) ||
		got.Header.Get("X-HubSpot-Portal") != fmt.Sprint(sandbox.DemoHubID) {
		t.Errorf("%s: %v: %s", got.Status, got.Header, got.Text)
	}
	if s := <-h.summaries; s.ServedBy != "hbdev" || s.App != "people" || s.Tries != 2 {
		t.Errorf("access log: %+v", s)
	}
	lines := h.WaitForAuditLines(h.AuditFile, 1)
	line := lines[len(lines)-1]
	if line.ServedBy != "hbdev" || line.App != "people" || line.UserTag != h.App("people").LogTag(t.Context(), "ann") ||
		line.ServedTag == "" || line.Portal != sandbox.DemoHubID {
		t.Errorf("audit line: %+v", line)
	}
	if text := userLevelMetric(t, h); text["served"] != 1 {
		t.Errorf("metrics: %v", text)
	}
	// Of several connections it is the one that was used last.
	for _, user := range []string{"newer", "older"} {
		time.Sleep(1100 * time.Millisecond) // what uses are told apart by
		if _, err := h.App("hbdev").Manager.Token(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		archive(h)
		lines = h.WaitForAuditLines(h.AuditFile, len(lines)+1)
		if tag := lines[len(lines)-1].ServedTag; tag != h.App("hbdev").LogTag(t.Context(), user) {
			t.Errorf("%s was used last, and another one serves", user)
		}
	}
}

func userLevelMetric(t *testing.T, h *harness) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := h.Metrics.Register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, family := range families {
		if family.GetName() != "caddy_hubspot_user_level_refusals_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			counts[metric.GetLabel()[1].GetValue()] = metric.GetCounter().GetValue()
		}
	}
	return counts
}

// Where the fallback cannot serve, HubSpot's refusal stands and says why.
func TestFallbackAppThatCannotServe(t *testing.T) { //nolint:tparallel // the cases change one relay
	t.Parallel()
	lonely := startPeople(t, "hbdev")
	lonely.ConnectInSandbox("elsewhere", sandbox.DemoLimitedHubID, "crm.objects.contacts.write")
	wantRefused(t, archive(lonely), "; fallback=not_connected")

	h := startPeople(t, "hbdev")
	h.ConnectInSandbox("acme", sandbox.DemoHubID, "crm.objects.contacts.write")
	if got := archive(h); got.Header.Get("X-HubSpot-Served-By") != "hbdev" {
		t.Errorf("with a connection: %s: %v", got.Status, got.Header)
	}
	wantRefused(t, archive(h, "Authorization", "Bearer "+peopleOnlyKey), "; fallback=not_allowed")
	token := sealTokenFor(t, h, "people", "ann")
	wantRefused(t, h.Do(http.MethodDelete, testBase+"/crm/objects/2026-09/contacts/99999999", nil, "Authorization", "Bearer "+token), "; fallback=not_allowed")

	for _, selector := range []freeze.Selector{{App: "hbdev"}, {App: "hbdev", User: "acme"}, {App: "hbdev", Writes: true}} {
		if err := h.Freezes.Freeze(t.Context(), freeze.Freeze{Selector: selector}); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, archive(h), "; fallback=frozen")
		if err := h.Freezes.Unfreeze(t.Context(), selector); err != nil {
			t.Fatal(err)
		}
	}
	// A body that is too long to be kept cannot be sent again.
	long := strings.NewReader(`{"inputs":[]}` + strings.Repeat(" ", 1<<20))
	wantRefused(t, h.Do(http.MethodDelete, testBase+"/crm/objects/2026-09/contacts/99999999", long,
		"Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "ann"), "; fallback=body_not_kept")

	h.Fault(fmt.Sprintf(`{"uninstall":{"client_id":%q}}`, sandbox.DemoClientID))
	if _, err := h.App("hbdev").Manager.ForceRefresh(t.Context(), "acme"); err == nil {
		t.Fatal("the grant lives")
	}
	wantRefused(t, archive(h), "; fallback=reauth_required")
}

func sealTokenFor(t *testing.T, h *harness, app, user string) string {
	t.Helper()
	sealer, err := h.App(app).TokenSealer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token, err := sealer.Seal(usertoken.Token{ID: "t-1", Caller: "tester", User: user, IssuedAt: now, ExpiresAt: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}
