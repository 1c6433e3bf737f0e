package admin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// An answer of HubSpot's, or of a box in between, that would keep requests away
// for a day shows, keeps them away for a minute at most, and can be reset.
func TestQuotaIsShownAndReset(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	const contacts = "/crm/objects/2026-09/contacts"
	path := adminapi.QuotaPath("HBdev", sandbox.DemoHubID)
	ask := func(method, path string, status int) adminapi.QuotaList {
		t.Helper()
		got := h.Admin(method, path)
		if got.StatusCode != status {
			t.Fatalf("%s %s: %s %s", method, path, got.Status, got.Text)
		}
		var list adminapi.QuotaList
		if status == http.StatusOK {
			got.JSON(t, &list)
		}
		return list
	}
	if list := ask("GET", adminapi.QuotaPath("hbdev", 0), 200); list.App != "hbdev" || list.Quotas == nil || len(list.Quotas) != 0 {
		t.Errorf("nothing was sent: %+v", list)
	}
	ask("GET", path, 404)
	ask("DELETE", path, 404)
	ask("GET", adminapi.QuotaPath("other", 0), 404)
	ask("GET", adminapi.Quota+"/hbdev/acme", 400)
	ask("GET", adminapi.Quota+"/hbdev/0", 400)
	ask("POST", path, 405)

	h.Fault(`{"api":{"answer":"rate_limited","policy":"DAILY","retry_after":86400,"times":1}}`)
	if got := h.Get(contacts, "acme"); got.StatusCode != 429 {
		t.Fatalf("the fault: %s %s", got.Status, got.Text)
	}
	list := ask("GET", path, 200)
	if len(list.Quotas) != 1 {
		t.Fatalf("quotas: %+v", list)
	}
	q := list.Quotas[0]
	if q.HubID != sandbox.DemoHubID || q.Quota != "burst" || q.Limit != 110 || q.WindowSeconds != 10 || q.Used != 1 || q.Left != 0 || q.Waiting != 0 || q.Shared {
		t.Errorf("a closed one: %+v", q)
	}
	if until := time.Until(q.ClosedUntil); until < 30*time.Second || until > time.Minute ||
		!strings.Contains(q.ClosedBecause, `limit "DAILY" with a Retry-After of 24h0m0s; one request each minute`) {
		t.Errorf("closed for %v: %s", until, q.ClosedBecause)
	}
	if got := h.Get(contacts, "acme"); got.StatusCode != 429 {
		t.Errorf("while it is closed: %s %s", got.Status, got.Text)
	}
	if q := ask("DELETE", path, 200).Quotas[0]; !q.ClosedUntil.IsZero() || q.ClosedBecause != "" || q.Left != 109 {
		t.Errorf("after the reset: %+v", q)
	}
	if got := h.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Errorf("after the reset: %s %s", got.Status, got.Text)
	}
}
