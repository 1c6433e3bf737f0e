package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// freeze freezes through the running config's App.
func (h *harness) freeze(s freeze.Selector) {
	h.t.Helper()
	if err := h.App().freezes.Freeze(h.t.Context(), freeze.Freeze{Selector: s, Since: time.Now()}); err != nil {
		h.t.Fatalf("freezing: %v", err)
	}
}

func (h *harness) unfreezeAll() {
	h.t.Helper()
	if err := h.App().freezes.UnfreezeAll(h.t.Context()); err != nil {
		h.t.Fatalf("lifting: %v", err)
	}
}

// twoCallers has a second caller with a narrow policy.
const twoCallers = `caller narrow {
		key   {env.NARROW_KEY}
		users globex
		deny  * /crm/*/companies
	}`

const frozenCallerKey = "frozen-caller-key-0123456789"

func TestFrozenCalls(t *testing.T) {
	t.Setenv("NARROW_KEY", frozenCallerKey)
	h := startSandboxed(t, hubspotCaddyfile(twoCallers, authAndProxy))
	h.Connect("globex", sandbox.DemoHubID)
	asked := func() (n int64) {
		for _, p := range h.Sandbox.Stats().Portals {
			n += p.Requests
		}
		return n
	}
	const envelope = `{"method":"%s","url":"%s","userForeignIdentifier":"acme","body":{"properties":{"email":"%d@example.com"}}}`
	calls := map[string]func() answer{
		"read":   func() answer { got, _, _ := h.call("GET", contacts, ""); return got },
		"search": func() answer { got, _, _ := h.call("POST", contacts+"/search", `{"limit":1}`); return got },
		"write": func() answer {
			got, _, _ := h.call("POST", contacts, fmt.Sprintf(`{"properties":{"email":"%d@example.com"}}`, time.Now().UnixNano()))
			return got
		},
		"raw read": func() answer {
			got, _, _ := h.call("POST", "/raw/hbdev", `{"method":"GET","url":"`+contacts+`","userForeignIdentifier":"acme"}`, "X-HubSpot-User", "acme")
			return got
		},
		"raw write": func() answer {
			got, _, _ := h.call("POST", "/raw/hbdev", fmt.Sprintf(envelope, "POST", contacts, time.Now().UnixNano()))
			return got
		},
		"other user":   func() answer { return h.Get(contacts, "globex") },
		"other caller": func() answer { return h.narrow("GET", contacts, "globex") },
	}
	for _, tc := range []struct {
		selector freeze.Selector
		// stopped are the calls that are refused; the others go on.
		stopped, dimension, text string
	}{
		{freeze.Selector{}, "read, search, write, raw read, raw write, other user, other caller", "everything", "frozen all calls."},
		{freeze.Selector{Writes: true}, "write, raw write", "everything writes", "all calls that may change something"},
		{freeze.Selector{App: "HBDEV"}, "read, search, write, raw read, raw write, other user, other caller", "app", "to this app"},
		{freeze.Selector{App: "other"}, "", "", ""},
		{freeze.Selector{User: "acme"}, "read, search, write, raw read, raw write", "user", "for this user"},
		{freeze.Selector{User: "acme", Writes: true}, "write, raw write", "user writes", "for this user that may change something"},
		{freeze.Selector{Caller: "Tester"}, "read, search, write, raw read, raw write, other user", "caller", "of this caller"},
		{freeze.Selector{Caller: "narrow", User: "globex"}, "other caller", "user caller", "of this caller for this user"},
		{freeze.Selector{Caller: "narrow", User: "acme"}, "", "", ""},
	} {
		h.freeze(tc.selector)
		for name, call := range calls {
			before := asked()
			got := call()
			if !strings.Contains(", "+tc.stopped+",", ", "+name+",") {
				if got.StatusCode >= 300 {
					t.Errorf("%+v: %s: %s %s; want it served", tc.selector, name, got.Status, got.Text)
				}
				continue
			}
			e := wantOwnError(t, got, 403, "frozen")
			if strings.Join(e.Context["dimension"], " ") != tc.dimension || !strings.Contains(e.Message, tc.text) || strings.Contains(e.Message, "acme") {
				t.Errorf("%+v: %s: %s", tc.selector, name, got.Text)
			}
			if asked() != before {
				t.Errorf("%+v: %s: HubSpot was asked", tc.selector, name)
			}
		}
		h.unfreezeAll()
	}
	for name, call := range calls {
		if got := call(); got.StatusCode >= 300 {
			t.Errorf("after all was lifted: %s: %s %s", name, got.Status, got.Text)
		}
	}
}

// narrow makes a call with the key of the caller narrow.
func (h *harness) narrow(method, path, user string) answer {
	h.t.Helper()
	return h.Do(method, path, nil, "Authorization", "Bearer "+frozenCallerKey, "X-HubSpot-User", user)
}

// TestFrozenComesLast: who may not call is not told what is frozen.
func TestFrozenComesLast(t *testing.T) {
	t.Setenv("NARROW_KEY", frozenCallerKey)
	h := startCaddy(t, hubspotCaddyfile(twoCallers, authAndProxy))
	h.freeze(freeze.Selector{})
	wantOwnError(t, h.Do("GET", contacts, nil, "X-HubSpot-User", "acme"), 401, "caller_unauthenticated")
	wantOwnError(t, h.narrow("GET", contacts, "acme"), 403, "caller_forbidden")
	wantOwnError(t, h.narrow("GET", "/crm/objects/2026-09/companies", "globex"), 403, "caller_forbidden")
	wantOwnError(t, h.narrow("GET", "/oauth/v1/token", "globex"), 403, "endpoint_blocked")
	wantOwnError(t, h.narrow("GET", contacts, "globex"), 403, "frozen")
	wantOwnError(t, h.Do("GET", "/hubspot/auth/hbdev?userForeignIdentifier=acme", nil), 401, "caller_unauthenticated")
	wantOwnError(t, h.narrow("GET", "/hubspot/auth/hbdev?userForeignIdentifier=acme", ""), 403, "caller_forbidden")
}

// TestFrozenWithoutCaller: a call without a key is no caller's.
func TestFrozenWithoutCaller(t *testing.T) {
	h := startSandboxed(t, hubspotCaddyfile("", "hubspot_auth\n hubspot_proxy hbdev {\n open\n }"))
	open := func() answer { return h.Do("GET", contacts, nil, "X-HubSpot-User", "acme") }
	h.freeze(freeze.Selector{Caller: "tester"})
	if got := open(); got.StatusCode != 200 {
		t.Errorf("without a key: %s %s", got.Status, got.Text)
	}
	wantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	h.freeze(freeze.Selector{User: "acme"})
	wantOwnError(t, open(), 403, "frozen")
}

// TestMayChange reads the paths of writes as if they were of searches.
func TestMayChange(t *testing.T) {
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
		c := &call{method: method, target: target{path: path}}
		if got := c.mayChange(); got != want {
			t.Errorf("mayChange of %s %s = %v; want %v", method, path, got, want)
		}
	}
}

// TestFrozenWhileWaiting freezes a call that waits for quota.
func TestFrozenWhileWaiting(t *testing.T) {
	h := startSandboxed(t, withQuota(hubspotCaddyfile("", authAndProxy), "1 1s"))
	hub := hub(h)
	waiting := func() *call {
		now := time.Now()
		c := &call{
			proxy: &Proxy{app: h.App(), hub: hub, MaxWait: caddy.Duration(10 * time.Second)},
			user:  "acme", method: "GET", target: target{path: contacts}, since: now,
			pacing: pacing{until: now.Add(10 * time.Second), class: quota.Burst}, inbound: new(http.Request),
		}
		if err := c.getToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if _, err := waiting().takePlaceWithToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		var ticket quota.Ticket
		ticket, err = waiting().takePlaceWithToken(t.Context())
		if err == nil {
			ticket.Unsent()
		}
	})
	h.freeze(freeze.Selector{User: "acme"})
	wg.Wait()
	if !isFrozen(err) {
		t.Errorf("after the wait: %v; want frozen", err)
	}
	h.unfreezeAll()
	// The place was given back.
	if got, _, took := h.call("GET", contacts, ""); got.StatusCode != 200 || took > 2*time.Second {
		t.Errorf("the next call: %s after %v", got.Status, took)
	}
}

// TestFrozenBetweenTries freezes while HubSpot answers the first.
func TestFrozenBetweenTries(t *testing.T) {
	var asked atomic.Int32
	var h *harness
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			err := h.App().freezes.Freeze(context.Background(), freeze.Freeze{Selector: freeze.Selector{Writes: true}})
			if err != nil {
				t.Error(err)
			}
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusLocked)
	}))
	defer upstream.Close()
	h = startProxy(t, upstream.URL, authAndProxy)
	got, tries, _ := h.call("POST", contacts, `{}`)
	wantOwnError(t, got, 403, "frozen")
	if asked.Load() != 1 || tries != "1" {
		t.Errorf("HubSpot was asked %d times, and %s are told; want once", asked.Load(), tries)
	}
	if got, _, _ := h.call("GET", contacts, ""); got.StatusCode != http.StatusLocked || asked.Load() != 4 {
		t.Errorf("a read: %s after %d tries; want HubSpot's own answer after three", got.Status, asked.Load()-1)
	}
}

// TestFreezesSurvive reloads, and starts again.
func TestFreezesSurvive(t *testing.T) {
	h := startSandboxed(t, hubspotCaddyfile("", authAndProxy))
	h.freeze(freeze.Selector{User: "acme"})
	keeper := h.App().freezes
	if err := h.Load(hubspotCaddyfile("", authAndProxy+"\n respond /x 204")); err != nil {
		t.Fatal(err)
	}
	if h.App().freezes != keeper {
		t.Error("the reload made another keeper")
	}
	wantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the process to forget", func() bool { return len(pooled()) == 0 })
	if err := h.Load(hubspotCaddyfile("", authAndProxy)); err != nil {
		t.Fatal(err)
	}
	// The very first request: nothing was asked before.
	wantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	if logs := h.Logs.String(); strings.Count(logs, "an operator has frozen calls") != 2 || strings.Contains(logs, `"acme"`) {
		t.Error("the log does not tell of the freeze once per process, or names the user")
	}
	h.unfreezeAll()
	if got := h.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Errorf("after it was lifted: %s %s", got.Status, got.Text)
	}
	if n := strings.Count(h.Logs.String(), "an operator has lifted a freeze"); n != 1 {
		t.Errorf("%d lines about the lifting; want one", n)
	}
}

// TestStoreWithoutDocuments is a store of another author.
func TestStoreWithoutDocuments(t *testing.T) {
	h := startSandboxed(t, hubspotCaddyfile("", authAndProxy))
	app := *h.App()
	app.freezes = freeze.New(freeze.Config{})
	defer app.freezes.Close()
	if err := app.freeze(t.Context(), freezeOrder{All: true}); !errors.Is(err, freeze.ErrNotKept) {
		t.Errorf("freezing = %v; want ErrNotKept", err)
	}
	if err := app.frozen(t.Context(), freeze.Call{}); err != nil {
		t.Errorf("frozen: %v", err)
	}
	if s := app.freezeStatus(); s.Count != 0 || !strings.Contains(s.Problem, "cannot keep freezes") {
		t.Errorf("status: %+v", s)
	}
}
