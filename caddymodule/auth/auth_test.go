package auth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// withServers puts settings of all servers into a Caddyfile.
func withServers(caddyfile, settings string) string {
	return strings.Replace(caddyfile, "{\n\thubspot", "{\n\tservers {\n"+settings+"\n\t}\n\thubspot", 1)
}

// Who a client is cannot be chosen by it, unless a proxy that is trusted says
// so. A trusted proxy that appends to what the client sent needs
// trusted_proxies_strict.
func TestClientAddressCannotBeChosen(t *testing.T) {
	for _, tc := range []struct {
		name, servers string
		// forwarded are the X-Forwarded-For of two requests; the second is
		// refused if they count as the same client.
		forwarded [2]string
		same      bool
	}{
		{"no proxy is trusted", "", [2]string{"198.51.100.1", "198.51.100.2"}, true},
		{"another proxy is trusted", "trusted_proxies static 192.0.2.0/24", [2]string{"198.51.100.1", "198.51.100.2"}, true},
		{"behind a proxy", "trusted_proxies static 127.0.0.0/8", [2]string{"198.51.100.1", "198.51.100.2"}, false},
		{"behind a proxy, the same client", "trusted_proxies static 127.0.0.0/8", [2]string{"198.51.100.1", "198.51.100.1"}, true},
		{"behind a proxy, the same IPv6 network", "trusted_proxies static 127.0.0.0/8", [2]string{"2001:db8::1", "2001:db8::2"}, true},
		{"behind a proxy, another IPv6 network", "trusted_proxies static 127.0.0.0/8", [2]string{"2001:db8::1", "2001:db8:0:1::1"}, false},
		{"behind a proxy that appends", "trusted_proxies static 127.0.0.0/8\ntrusted_proxies_strict", [2]string{"192.0.2.1, 198.51.100.1", "192.0.2.2, 198.51.100.1"}, true},
		{"another header", "trusted_proxies static 127.0.0.0/8\nclient_ip_headers X-Real-Client", [2]string{"198.51.100.1", "198.51.100.2"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := caddytest.Caddyfile("", "hubspot_auth {\n rate 1 1h\n }")
			if tc.servers != "" {
				text = withServers(text, tc.servers)
			}
			h := caddytest.Start(t, text)
			want := [2]int{http.StatusBadRequest, http.StatusBadRequest}
			if tc.same {
				want[1] = http.StatusTooManyRequests
			}
			for i, forwarded := range tc.forwarded {
				got := h.Do(http.MethodGet, "/hubspot/hbdev/callback?code=c&state=s", nil, "X-Forwarded-For", forwarded, "Forwarded", "for="+forwarded, "X-Real-IP", forwarded)
				if got.StatusCode != want[i] {
					t.Errorf("%s: %s, want %d", forwarded, got.Status, want[i])
				}
			}
		})
	}
}

// A request of a unix socket has no address; all of them count as one client.
func TestClientsOfASocket(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", "hubspot_auth {\n rate 1 1h\n }"), caddytest.WithSocket())
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.Socket())
		},
	}}
	for _, want := range []int{http.StatusBadRequest, http.StatusTooManyRequests} {
		if got := h.Read(client.Get("http://localhost/hubspot/hbdev/callback?code=c&state=s")); got.StatusCode != want {
			t.Errorf("%s, want %d", got.Status, want)
		}
	}
	lines := h.LogLines("install step answered")
	if len(lines) != 2 || lines[0]["client_ip"] != "" || lines[0]["level"] != "info" || lines[0]["duration"] == nil {
		t.Errorf("logged %v", lines)
	}
}

// The access log has no line of a request whose address, or whose answer, holds
// a code or a state, and the handler's own line has neither.
func TestAccessLog(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", "log\nhubspot_auth {\n user {http.request.header.X-Test-Session}\n }\nrespond 418"))
	h.Do(http.MethodGet, "/hubspot/hbdev/connect", nil, "X-Test-Session", "acme")
	h.Do(http.MethodGet, "/hubspot/hbdev/callback?code=planted&state=planted", nil)
	h.Do(http.MethodGet, "/hubspot/hbdev/connect", nil)
	h.Get("/hubspot/connections/hbdev", "")
	h.Do(http.MethodGet, "/last", nil)
	var logged []string
	h.WaitFor("the access log", func() bool {
		logged = nil
		for _, line := range h.LogLines("handled request") {
			request, _ := line["request"].(map[string]any)
			logged = append(logged, fmt.Sprint(request["uri"], " ", line["status"]))
		}
		return strings.Contains(strings.Join(logged, ","), "/last")
	})
	if got, want := strings.Join(logged, ","), "/hubspot/hbdev/connect 400,/hubspot/connections/hbdev 200,/last 418"; got != want {
		t.Errorf("the access log has %s, want %s", got, want)
	}
	if n := len(h.LogLines("install step answered")); n != 3 {
		t.Errorf("%d lines of the handler's own", n)
	}
	if strings.Contains(h.Logs.String(), "planted") {
		t.Error("a code or a state is logged")
	}
}

// What Caddy knows reaches the install: placeholders, the address before it was
// rewritten, the name of the site; and a site for browsers has nothing else.
func TestInsideCaddy(t *testing.T) {
	const app = `
	app inner {
		client_id     {env.HUBSPOT_CLIENT_ID}
		client_secret {env.HUBSPOT_CLIENT_SECRET}
		scopes        oauth crm.objects.contacts.read
		redirect_uri  http://localhost/api/hubspot/inner/callback
	}`
	const site = `
	handle_path /api/* {
		hubspot_auth {
			user      user-{http.request.header.X-Test-Session}-{http.request.host}
			sign_in   https://app.example.com/login
			return_to {env.BACK}
			browsers
		}
		respond 418
	}
	hubspot_auth /hubspot/*`
	t.Setenv("BACK", "https://app.example.com/*")
	h := caddytest.Start(t, caddytest.Caddyfile(app, site))
	begun := h.Do(http.MethodGet, "/api/hubspot/inner/connect?return_to=https://app.example.com/x", nil, "X-Test-Session", "acme")
	if begun.StatusCode != http.StatusFound || len(begun.Cookies()) != 1 {
		t.Fatalf("connect: %s: %s", begun.Status, begun.Text)
	}
	cookie := begun.Cookies()[0]
	callback := h.Approve(begun.Header.Get("Location"), sandbox.DemoHubID)
	got := h.Do(http.MethodGet, callback, nil, "Cookie", cookie.Name+"="+cookie.Value)
	if want := "https://app.example.com/x?hubspot=connected&app=inner"; got.Header.Get("Location") != want {
		t.Errorf("callback: %s to %q: %s", got.Status, got.Header.Get("Location"), got.Text)
	}
	if got := h.Get("/hubspot/connections/inner/user-acme-localhost", ""); got.StatusCode != http.StatusOK {
		t.Errorf("connection: %s: %s", got.Status, got.Text)
	}
	got = h.Do(http.MethodGet, "/api/hubspot/inner/connect", nil)
	if back := sidecartest.QueryOf(t, got.Header.Get("Location"), "return_to"); back != "http://localhost/api/hubspot/inner/connect?signed_in=1" {
		t.Errorf("comes back from signing in to %q", back)
	}
	for _, target := range []string{"/api/hubspot/connections/inner", "/api/hubspot/connections/inner/..%2F..%2Fx", "/api/hubspot/auth/inner?userForeignIdentifier=x"} {
		if got := h.Get(target, ""); got.StatusCode != http.StatusTeapot {
			t.Errorf("%s on a site for browsers: %s", target, got.Status)
		}
	}
	got = h.Do(http.MethodGet, "/api/hubspot/inner/connect", nil, "Host", "evil.example")
	if got.StatusCode == http.StatusFound {
		t.Errorf("a site of another name answers: %q", got.Header.Get("Location"))
	}
}

// failures has the data of the events of failed installs.
var failures struct {
	sync.Mutex
	data []map[string]any
}

func init() { caddy.RegisterModule(failureSink{}) }

// failureSink is a subscriber of Caddy's events.
type failureSink struct{}

func (failureSink) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.hubspot_test_failures", New: func() caddy.Module { return new(failureSink) }}
}

func (*failureSink) Handle(_ context.Context, e caddy.Event) error {
	failures.Lock()
	defer failures.Unlock()
	failures.data = append(failures.data, e.Data)
	return nil
}

var _ caddyevents.Handler = (*failureSink)(nil)

// A failed install is an event of Caddy's, from the same module as those of
// connections.
func TestFailedInstallIsAnEvent(t *testing.T) {
	h := caddytest.New(t)
	config, err := h.Adapt(caddytest.Caddyfile("", "hubspot_auth"))
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]any
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	caddytest.Child(parsed, "apps")["events"] = map[string]any{"subscriptions": []any{map[string]any{
		"events":   []string{"hubspot_install_failed"},
		"modules":  []string{"hubspot"},
		"handlers": []any{map[string]any{"handler": "hubspot_test_failures"}},
	}}}
	if config, err = json.Marshal(parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	link := h.InstallLink("hbdev", "acme")
	h.Do(http.MethodGet, h.Do(http.MethodGet, link+"&_sandbox_deny=access_denied", nil).Header.Get("Location"), nil)
	seen := func() []map[string]any {
		failures.Lock()
		defer failures.Unlock()
		return failures.data
	}
	h.WaitFor("the event", func() bool { return len(seen()) > 0 })
	if data := seen(); len(data) != 1 || len(data[0]) != 2 || data[0]["app"] != "hbdev" || data[0]["reason"] != "denied" {
		t.Errorf("the events are %v", data)
	}
}
