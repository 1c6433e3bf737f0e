package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/stores"
	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

// benchCaddyfile has the same upstream twice: behind hubspot_proxy with a
// caller's key and a user in a header, and behind Caddy's own reverse_proxy,
// which sends a token that stands in the config.
const benchCaddyfile = `{
	admin off
	persist_config off
	storage file_system DIR/storage
	log default {
		level ERROR
	}
	hubspot {
		app hbdev {
			client_id     {env.HUBSPOT_CLIENT_ID}
			client_secret {env.HUBSPOT_CLIENT_SECRET}
			quota         1000000 1s
		}
		caller tester {
			key {env.CALLER_KEY}
		}
		endpoints {
			api API
		}
	}
}
http://127.0.0.1:0 {
	handle /plain/* {
		reverse_proxy API {
			header_up Authorization "Bearer ` + benchAccessToken + `"
		}
	}
	handle {
		hubspot_proxy hbdev
	}
}
`

// startBench starts Caddy and returns the server that both routes are in.
func startBench(b *testing.B, api string) *caddyhttp.Server {
	b.Helper()
	dir := b.TempDir()
	b.Setenv("HUBSPOT_CLIENT_ID", sandbox.DemoClientID)
	b.Setenv("HUBSPOT_CLIENT_SECRET", sandbox.DemoClientSecret)
	b.Setenv("CALLER_KEY", benchKey)
	b.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	text := strings.NewReplacer("API", api, "DIR", dir).Replace(benchCaddyfile)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	active := caddy.ActiveContext()
	app, err := active.App("hubspot")
	if err != nil {
		b.Fatal(err)
	}
	hub, _ := app.(*sidecar.Sidecar).App("hbdev")
	connectAcme(b, hub)
	app, err = active.App("http")
	if err != nil {
		b.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	b.Fatal("no server")
	return nil
}

// What the benchmarks connect the user acme with.
const (
	benchKey         = "bench-caller-key-0123456789"
	benchAccessToken = "CBenchAccessToken000000000000001"
)

func connectAcme(b *testing.B, app *hubapp.App) {
	b.Helper()
	_, err := app.Manager.Connect(b.Context(), connection.Install{
		User: "acme",
		Grant: hubspot.Grant{
			AccessToken: secret.New(benchAccessToken), RefreshToken: secret.New("na1-bench-refresh-token-0000-0001"),
			HubID: 4711, Scopes: []string{"oauth"}, ExpiresIn: 30 * time.Minute,
		},
		Nonce: rand.Text(), NonceUntil: time.Now().Add(time.Minute),
	})
	if err != nil {
		b.Fatal(err)
	}
}

// inMemory answers requests without a network.
type inMemory struct{ body string }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{
		StatusCode: 200, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{
			"Content-Type": {"application/json;charset=utf-8"}, "Server": {"cloudflare"}, "Date": {"Sat, 01 Jan 2000 00:00:00 GMT"},
			"Cf-Ray": {"8c0c1e1f2d3b1c2d-FRA"}, "Cf-Cache-Status": {"DYNAMIC"}, "Vary": {"origin, Accept-Encoding"},
			"Strict-Transport-Security": {"max-age=31536000; includeSubDomains; preload"}, "X-Content-Type-Options": {"nosniff"},
			"Access-Control-Allow-Credentials": {"false"}, "X-Request-Id": {"a43683b0-5717-4ceb-80b4-104d02915d8c"},
			"X-Hubspot-Correlation-Id": {"a43683b0-5717-4ceb-80b4-104d02915d8c"}, "X-Hubspot-Ratelimit-Max": {"1000000"},
			"X-Hubspot-Ratelimit-Remaining": {"999999"}, "X-Hubspot-Ratelimit-Interval-Milliseconds": {"1000"},
			"Report-To": {`{"group":"cf-nel","max_age":604800}`}, "Nel": {`{"success_fraction":0.01}`}, "Set-Cookie": {"__cf_bm=x"},
		},
		Body: io.NopCloser(strings.NewReader(m.body)), ContentLength: int64(len(m.body)),
	}, nil
}

// withoutNetwork has the proxies of a server answered in memory.
func withoutNetwork(b *testing.B, routes caddyhttp.RouteList, upstream http.RoundTripper) {
	b.Helper()
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch handler := handler.(type) {
			case *caddyhttp.Subroute:
				withoutNetwork(b, handler.Routes, upstream)
			case *Proxy:
				handler.transport.Transport.RegisterProtocol("http", upstream)
			case *reverseproxy.Handler:
				handler.Transport.(*reverseproxy.HTTPTransport).Transport.RegisterProtocol("http", upstream)
			}
		}
	}
}

// discard is a client that takes what it gets.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) Flush()                      {}

// benchToken is a user token of the caller tester, narrowed or not.
func benchToken(b *testing.B, narrowed bool) string {
	b.Helper()
	sealer, err := usertoken.NewSealer("hbdev", secret.New(sandbox.DemoClientSecret))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	token := usertoken.Token{ID: rand.Text(), Caller: "tester", User: "acme", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	if narrowed {
		rule, err := access.ParseRuleText("GET,POST /crm/*")
		if err != nil {
			b.Fatal(err)
		}
		token.Allow = []access.Rule{rule}
	}
	sealed, err := sealer.Seal(token)
	if err != nil {
		b.Fatal(err)
	}
	return sealed.Reveal()
}

// benchRequest returns what makes one request of a server.
func benchRequest(b *testing.B, server *caddyhttp.Server, key, method, path string, body []byte) func() {
	b.Helper()
	template := httptest.NewRequest(method, "http://127.0.0.1"+path, nil)
	template.RequestURI = path
	template.Header = http.Header{
		"Authorization": {"Bearer " + key}, "X-Hubspot-User": {"acme"}, "Accept": {"application/json"},
		"Content-Type": {"application/json"}, "User-Agent": {"hubspot-api-client-nodejs; 14.0.1"}, "Accept-Encoding": {"gzip, deflate"},
	}
	return func() {
		r := template.Clone(template.Context())
		if body != nil {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		w := &discard{header: make(http.Header)}
		server.ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatalf("%s %s: %d", method, path, w.status)
		}
	}
}

// BenchmarkProxy compares the whole way of a request through hubspot_proxy,
// with the caller's key, the user and the cached token, with the way through
// Caddy's own reverse_proxy. ratio is our time divided by the other, and
// allocs-ratio the same of allocations; below 1 we are faster.
func BenchmarkProxy(b *testing.B) {
	answer := `{"results":[` + strings.Repeat(`{"id":"1","properties":{"email":"a@example.com"}},`, 20) + `{}],"paging":{}}`
	network := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer network.Close()
	contact, err := json.Marshal(map[string]any{"properties": map[string]string{"email": strings.Repeat("a", 500)}})
	if err != nil {
		b.Fatal(err)
	}
	for _, bc := range []struct {
		name, key, method string
		body              []byte
		memory            bool
	}{
		{"memory/GET", benchKey, "GET", nil, true},
		{"memory/POST", benchKey, "POST", contact, true},
		{"memory/token", benchToken(b, false), "GET", nil, true},
		{"memory/narrowed", benchToken(b, true), "GET", nil, true},
		{"network/GET", benchKey, "GET", nil, false},
	} {
		b.Run(bc.name, func(b *testing.B) {
			server := startBench(b, network.URL)
			if bc.memory {
				withoutNetwork(b, server.Routes, inMemory{answer})
			}
			const path = "crm/objects/2026-09/contacts?limit=20&properties=email"
			compare(b,
				benchRequest(b, server, bc.key, bc.method, "/plain/"+path, bc.body),
				benchRequest(b, server, bc.key, bc.method, "/"+path, bc.body))
		})
	}
}

// compare runs two things in turn, so that both see the same machine, and
// reports what they took.
func compare(b *testing.B, plain, ours func()) {
	b.Helper()
	const warm, turn = 50, 20
	for range warm {
		plain()
		ours()
	}
	var plainTimes, ourTimes []time.Duration
	for b.Loop() {
		// Each pays for the other's garbage as often as not.
		plainTimes = append(plainTimes, timed(turn, plain))
		ourTimes = append(ourTimes, timed(turn, ours), timed(turn, ours))
		plainTimes = append(plainTimes, timed(turn, plain))
	}
	plainTime, ourTime := median(plainTimes), median(ourTimes)
	plainAllocs, ourAllocs := testing.AllocsPerRun(200, plain), testing.AllocsPerRun(200, ours)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(plainTime.Nanoseconds())/turn, "plain-ns")
	b.ReportMetric(float64(ourTime.Nanoseconds())/turn, "ours-ns")
	b.ReportMetric(float64(ourTime)/float64(plainTime), "ratio")
	b.ReportMetric(plainAllocs, "plain-allocs")
	b.ReportMetric(ourAllocs, "ours-allocs")
	b.ReportMetric(ourAllocs/plainAllocs, "allocs-ratio")
}

// median is what a busy machine disturbs least.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func timed(times int, f func()) time.Duration {
	begun := time.Now()
	for range times {
		f()
	}
	return time.Since(begun)
}
