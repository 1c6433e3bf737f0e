package relay

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// TestMayChange reads the paths of writes as if they were of searches.
func TestMayChange(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"POST /crm/objects/2026-09/contacts/search":     false,
		"POST /crm/objects/2026-09/contacts/batch/read": false,
		"GET /anything":                                        false,
		"HEAD /anything":                                       false,
		"POST /crm/objects/2026-09/contacts":                   true,
		"POST /crm/objects/2026-09/contacts/batch/create":      true,
		"PUT /crm/objects/2026-09/contacts/search":             true,
		"get /anything":                                        true,
		"POST /crm/objects/2026-09/contacts;a=/search":         true,
		"POST /crm/objects/2026-09/contacts%3Fa=/search":       true,
		"POST /crm/objects/2026-09/contacts%23/search":         true,
		"POST /crm/objects/2026-09/contacts/x/..;/search":      true,
		"POST /crm/objects/2026-09/contacts/search/..":         true,
		"POST /crm/objects/2026-09/contacts/search/%2e%2e":     true,
		"POST /crm/objects/2026-09/contacts/search/%zz/search": true,
	} {
		method, path, _ := strings.Cut(path, " ")
		c := &Call{method: method, target: target{path: path}}
		// A path that has no reading is refused before this is asked.
		c.readings, _ = access.Readings(path)
		if got := c.mayChange(); got != want {
			t.Errorf("mayChange of %s %s = %v; want %v", method, path, got, want)
		}
	}
}

// TestFrozenWhileWaiting freezes a call that waits for quota.
func TestFrozenWhileWaiting(t *testing.T) {
	t.Parallel()
	app := sidecartest.App()
	app.Quota = appconfig.Rate{Count: 1, Per: time.Second}
	kit := sidecartest.New(t, sidecartest.Config{Apps: []appconfig.Resolved{app}})
	kit.ConnectAs("acme", sidecartest.AccessToken)
	relay, err := New(Config{App: kit.App("hbdev"), Desk: kit.Desk, Metrics: kit.Metrics, Logger: kit.Logger})
	if err != nil {
		t.Fatal(err)
	}
	waiting := func() *Call {
		const path = "/crm/objects/2026-09/contacts"
		c := relay.NewCall(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", path, nil), path)
		c.user, c.method, c.target = "acme", "GET", target{path: path}
		c.pacing = pacing{until: c.since.Add(10 * time.Second), limit: hubspot.BurstLimit}
		if err := c.getToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if _, err := waiting().takePlace(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	second := waiting()
	wg.Go(func() {
		var ticket quota.Ticket
		ticket, err = second.takePlace(t.Context())
		if err == nil {
			ticket.Unsent()
		}
	})
	if err := kit.Freezes.Freeze(t.Context(), freeze.Freeze{Selector: freeze.Selector{User: "acme"}, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if !admission.IsFrozen(err) {
		t.Errorf("after the wait: %v; want frozen", err)
	}
	if err := kit.Freezes.UnfreezeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The place was given back.
	begun := time.Now()
	if _, err := waiting().takePlace(t.Context()); err != nil || time.Since(begun) > 2*time.Second {
		t.Errorf("the next call: %v after %v", err, time.Since(begun))
	}
}

// Go's server refuses some of these before anybody sees them; others may not.
func TestCheckBytes(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		text := "/crm/a" + string([]byte{byte(c)}) + "b"
		wrong := c <= ' ' || c == 0x7f
		if err := checkBytes(text, ""); (err != nil) != wrong {
			t.Errorf("%q in the target: %v", text, err)
		}
		if err := checkBytes("/", text); (err != nil) != wrong {
			t.Errorf("%q in the query: %v", text, err)
		}
	}
}
