package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// serverOf returns the HTTP server of the running config, for requests without
// a connection.
func serverOf(t testing.TB) *caddyhttp.Server {
	t.Helper()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	t.Fatal("the config has no HTTP server")
	return nil
}

// storeCalls is how often the store was asked for connections so far.
func storeCalls(t testing.TB) (calls uint64) {
	t.Helper()
	active := caddy.ActiveContext()
	families, err := active.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "caddy_hubspot_store_operation_duration_seconds" {
			for _, metric := range family.GetMetric() {
				// What is frozen is read all the time.
				if !strings.Contains(metric.String(), `"load_document"`) {
					calls += metric.GetHistogram().GetSampleCount()
				}
			}
		}
	}
	return calls
}

// withServers puts settings of all servers into a Caddyfile.
func withServers(caddyfile, settings string) string {
	return strings.Replace(caddyfile, "{\n\thubspot", "{\n\tservers {\n"+settings+"\n\t}\n\thubspot", 1)
}

// infoLines counts the lines at level info with a message, and all of them.
func infoLines(h *harness, message string) (info, all int) {
	for line := range strings.Lines(h.Logs.String()) {
		if strings.Contains(line, `"msg":"`+message+`"`) {
			all++
			if strings.Contains(line, `"level":"info"`) {
				info++
			}
		}
	}
	return info, all
}

// checkLines: the log has every line, and few of them at the usual level.
func checkLines(t *testing.T, h *harness, message string, want int, begun time.Time) {
	t.Helper()
	most := strangerBurst + strangerLines*(int(time.Since(begun).Seconds())+1)
	if info, all := infoLines(h, message); all != want || info > most {
		t.Errorf("%d lines, %d of them at level info; want %d and at most %d", all, info, want, most)
	}
}

// Twenty thousand clients with made-up states, all at once: nobody is asked
// about them, and what is kept of them is bounded.
func TestFloodOfClients(t *testing.T) {
	h := startCaddy(t, withServers(hubspotCaddyfile("", "hubspot_auth {\n rate 1 1h\n }"), "trusted_proxies static 127.0.0.0/8"))
	server, before, begun := serverOf(t), storeCalls(t), time.Now()
	const clients = 20_000
	address := netip.MustParseAddr("10.0.0.0")
	for i := range clients {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://localhost/hubspot/hbdev/callback?code=%d&state=made-up-%d", i, i), nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("X-Forwarded-For", address.String())
		address = address.Next()
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Fatalf("client %d: %d", i, w.Code)
		}
	}
	if n := storeCalls(t) - before; n != 0 || tokenCalls(t, h) != 0 {
		t.Errorf("the store was asked %d times, HubSpot %d times", n, tokenCalls(t, h))
	}
	checkLines(t, h, "install step answered", clients, begun)
}

func TestClientLimiterMemory(t *testing.T) {
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	l := newClientLimiter(30, time.Minute)
	address, now := netip.MustParseAddr("2001:db8::"), time.Now()
	for range 3 * maxLimited {
		l.take(address, now)
		address = address.Next()
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("the limiter takes %d KiB", grown>>10)
	}
	runtime.KeepAlive(l)
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
			text := hubspotCaddyfile("", "hubspot_auth {\n rate 1 1h\n }")
			if tc.servers != "" {
				text = withServers(text, tc.servers)
			}
			h := startCaddy(t, text)
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

// Wrong keys cost neither the store nor HubSpot anything, and do not fill the
// log.
func TestFloodOfWrongKeys(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), "hubspot_auth\n hubspot_proxy hbdev")
	for path, message := range map[string]string{
		"/crm/x": "refused a request", "/hubspot/connections/hbdev/acme": "caller's request refused",
	} {
		server, before, begun := serverOf(t), storeCalls(t), time.Now()
		const tries = 2_000
		for i := range tries {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
			r.Header.Set("Authorization", fmt.Sprintf("Bearer made-up-key-%020d", i))
			r.Header.Set("X-HubSpot-User", "acme")
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized {
				t.Fatalf("%s: %d", path, w.Code)
			}
		}
		if n := storeCalls(t) - before; n != 0 || len(upstream.taken()) != 0 {
			t.Errorf("%s: the store was asked %d times, HubSpot %d times", path, n, len(upstream.taken()))
		}
		checkLines(t, h, message, tries, begun)
	}
}

func TestStrangersLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newStrangerLog()
		lowered := 0
		for range 3 * strangerBurst {
			if level, _ := l.level(zap.InfoLevel); level == zap.DebugLevel {
				lowered++
			}
		}
		if lowered != 2*strangerBurst {
			t.Errorf("%d lines were lowered", lowered)
		}
		time.Sleep(time.Second)
		if level, more := l.level(zap.WarnLevel); level != zap.WarnLevel || more.Integer != int64(lowered) {
			t.Errorf("afterwards: %v, %+v", level, more)
		}
		if level, more := l.level(zap.InfoLevel); level != zap.InfoLevel || !more.Equals(zap.Skip()) {
			t.Errorf("and then: %v, %+v", level, more)
		}
	})
}

// Somebody who may not see a user learns nothing of whether there is one: the
// answer is the same, and the store is not asked.
func TestUsersCannotBeProbed(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), "")
	if err := h.Load(withAPI(hubspotCaddyfile(limitedCaller(), "hubspot_auth {\n user {http.request.header.X-Test-Session}\n rate 1000 1s\n }\n hubspot_proxy hbdev"), upstream.url())); err != nil {
		t.Fatal(err)
	}
	before, asked := storeCalls(t), len(upstream.taken())
	for _, key := range []string{"", "some-other-key-0123456789", limitedKey} {
		for _, tc := range []struct{ method, target string }{
			{http.MethodGet, "/hubspot/connections/hbdev/USER"},
			{http.MethodDelete, "/hubspot/connections/hbdev/USER"},
			{http.MethodGet, "/hubspot/auth/hbdev?userForeignIdentifier=USER"},
			{http.MethodGet, "/as/USER/crm/x"},
			{http.MethodPost, "/as/USER/crm/x"},
			{http.MethodGet, "/hubspot/hbdev/callback?code=USER&state=USER"},
			{http.MethodGet, "/hubspot/hbdev/callback?error=access_denied&state=USER"},
			{http.MethodGet, "/hubspot/hbdev/connect?userForeignIdentifier=USER"},
		} {
			var answers [2]string
			for i, user := range []string{"acme", "nobody"} {
				var header []string
				if key != "" {
					header = []string{"Authorization", "Bearer " + key}
				}
				got := h.Do(tc.method, strings.ReplaceAll(tc.target, "USER", user), nil, header...)
				if got.StatusCode < 400 || got.StatusCode == http.StatusNotFound {
					t.Errorf("%s %s: %s", tc.method, tc.target, got.Status)
				}
				got.Header.Del("Date")
				text := fmt.Sprint(got.Status, got.Header, got.Text)
				answers[i] = strings.ReplaceAll(anyID.ReplaceAllString(text, "ID"), user, "USER")
			}
			// Two names of different lengths make bodies of different lengths.
			answers[0] = contentLength.ReplaceAllString(answers[0], "")
			answers[1] = contentLength.ReplaceAllString(answers[1], "")
			if answers[0] != answers[1] {
				t.Errorf("%s %s tells who is there:\n%s\n%s", tc.method, tc.target, answers[0], answers[1])
			}
		}
	}
	if n := storeCalls(t) - before; n != 0 || len(upstream.taken()) != asked {
		t.Errorf("the store was asked %d times, HubSpot %d times", n, len(upstream.taken())-asked)
	}
}

var (
	anyID         = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	contentLength = regexp.MustCompile(`Content-Length:\[\d+\]`)
)
