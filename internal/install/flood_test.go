package install_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installtest"
)

// Twenty thousand clients with made-up states, all at once: nobody is asked
// about them, and what is kept of them is bounded.
func TestFloodOfClients(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{Install: func(c *install.Config) { c.Rate = appconfig.Rate{Count: 1, Per: time.Hour} }})
	begun := time.Now()
	const clients = 20_000
	address := netip.MustParseAddr("10.0.0.0")
	for i := range clients {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://localhost/hubspot/hbdev/callback?code=%d&state=made-up-%d", i, i), nil)
		r.Header.Set(installtest.ClientHeader, address.String())
		address = address.Next()
		w := httptest.NewRecorder()
		k.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Fatalf("client %d: %d", i, w.Code)
		}
	}
	if n := k.Store.Calls(); n != 0 || k.TokenCalls() != 0 {
		t.Errorf("the store was asked %d times, HubSpot %d times", n, k.TokenCalls())
	}
	k.CheckLines("install step answered", clients, begun)
	if k.Skipped() != clients {
		t.Errorf("%d of %d callbacks were kept out of the access log", k.Skipped(), clients)
	}
}

// Each address that holds a code or a state is kept out of the access log, and
// what is logged instead has none of it.
func TestSecretsStayOutOfTheAccessLog(t *testing.T) {
	t.Parallel()
	k := installtest.New(t, installtest.Config{})
	skipped := func(target string, header ...string) int {
		before := k.Skipped()
		k.Do(http.MethodGet, target, nil, header...)
		return k.Skipped() - before
	}
	for target, want := range map[string]int{
		"/hubspot/hbdev/callback?code=planted-code&state=planted-state": 1,
		"/hubspot/hbdev/callback":                  1,
		"/hubspot/hbdev/connect":                   1, // its answer holds the state
		"/hubspot/connections/hbdev":               0,
		"/hubspot/hbdev/connect?return_to=http://": 0,
	} {
		if n := skipped(target, installtest.SessionHeader, "acme"); n != want {
			t.Errorf("%s is kept out %d times", target, n)
		}
	}
	if logs := k.Logs.String(); strings.Contains(logs, "planted") || strings.Contains(logs, "state=") {
		t.Errorf("the log holds a code or a state: %s", logs)
	}
}
