package relay_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// freeze freezes, as an operator does it.
func (h *harness) freeze(s freeze.Selector) {
	h.t.Helper()
	if err := h.Freezes.Freeze(h.t.Context(), freeze.Freeze{Selector: s, Since: time.Now()}); err != nil {
		h.t.Fatalf("freezing: %v", err)
	}
}

func (h *harness) unfreezeAll() {
	h.t.Helper()
	if err := h.Freezes.UnfreezeAll(h.t.Context()); err != nil {
		h.t.Fatalf("lifting: %v", err)
	}
}

// secondCaller has a narrow policy.
func secondCaller(t testing.TB) []access.CallerConfig {
	t.Helper()
	return []access.CallerConfig{{
		Name: "narrow", Keys: []secret.Text{secret.New(frozenCallerKey)}, Users: []string{"globex"}, Deny: sidecartest.Rules(t, "* /crm/*/companies"),
	}}
}

const frozenCallerKey = "frozen-caller-key-0123456789"

func TestFrozenCalls(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{Callers: secondCaller(t)})
	h.ConnectInSandbox("globex", sandbox.DemoHubID)
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
	t.Parallel()
	h := start(t, sidecartest.Config{Callers: secondCaller(t)})
	h.freeze(freeze.Selector{})
	wantOwnError(t, h.Do("GET", contacts, nil, "X-HubSpot-User", "acme"), 401, "caller_unauthenticated")
	wantOwnError(t, h.narrow("GET", contacts, "acme"), 403, "caller_forbidden")
	wantOwnError(t, h.narrow("GET", "/crm/objects/2026-09/companies", "globex"), 403, "caller_forbidden")
	wantOwnError(t, h.narrow("GET", "/oauth/v1/token", "globex"), 403, "endpoint_blocked")
	wantOwnError(t, h.narrow("GET", contacts, "globex"), 403, "frozen")
}

// TestFrozenWithoutCaller: a call without a key is no caller's.
func TestFrozenWithoutCaller(t *testing.T) {
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{}, open)
	withoutKey := func() answer { return h.Do("GET", contacts, nil, "X-HubSpot-User", "acme") }
	h.freeze(freeze.Selector{Caller: "tester"})
	if got := withoutKey(); got.StatusCode != 200 {
		t.Errorf("without a key: %s %s", got.Status, got.Text)
	}
	wantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	h.freeze(freeze.Selector{User: "acme"})
	wantOwnError(t, withoutKey(), 403, "frozen")
}

// TestFrozenBetweenTries freezes while HubSpot answers the first.
func TestFrozenBetweenTries(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var h *harness
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			err := h.Freezes.Freeze(context.Background(), freeze.Freeze{Selector: freeze.Selector{Writes: true}})
			if err != nil {
				t.Error(err)
			}
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusLocked)
	}))
	defer upstream.Close()
	h = startProxy(t, upstream.URL)
	got, tries, _ := h.call("POST", contacts, `{}`)
	wantOwnError(t, got, 403, "frozen")
	if asked.Load() != 1 || tries != "1" {
		t.Errorf("HubSpot was asked %d times, and %s are told; want once", asked.Load(), tries)
	}
	if got, _, _ := h.call("GET", contacts, ""); got.StatusCode != http.StatusLocked || asked.Load() != 4 {
		t.Errorf("a read: %s after %d tries; want HubSpot's own answer after three", got.Status, asked.Load()-1)
	}
}
