package webhook_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// echo answers with what the next handler sees.
const echo = `respond "{http.request.header.X-HubSpot-Verified}|{http.request.header.X_HubSpot_Verified}|{http.request.body}"`

// signedHeader are the headers of a signature of version 3 over what was called.
func signedHeader(url, body string) []string {
	s := hubspot.Signed{Method: "POST", URL: url, Body: []byte(body), Timestamp: strconv.FormatInt(time.Now().UnixMilli(), 10)}
	return []string{
		hubspot.HeaderTimestamp, s.Timestamp,
		hubspot.HeaderSignatureV3, s.Sign(hubspot.SignatureV3, secret.New(caddytest.ClientSecret)),
	}
}

// send sends a body as HubSpot does, signed over what it takes itself to have
// called.
func send(h *caddytest.Harness, target, called, body string, header ...string) sidecartest.Answer {
	return h.Do(http.MethodPost, target, strings.NewReader(body), append(signedHeader(called, body), header...)...)
}

func TestVerifiedRequestsGoOn(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", "hubspot_webhook hbdev\n"+echo))
	// The request's own URL counts, with its query as it stands there.
	for _, target := range []string{"/hubspot/webhooks", "/w?a=1&b=%20%2F&", "/w?"} {
		got := send(h, target, "http://localhost"+target, `[ {"é":1} ]`, "X-HubSpot-Verified", "v9", "X_HubSpot_Verified", "v9")
		if want := `v3||[ {"é":1} ]`; got.StatusCode != 200 || got.Text != want {
			t.Errorf("%s: %s %s; want %s", target, got.Status, got.Text, want)
		}
	}
	for called, reason := range map[string]string{"http://localhost/other": "signature", "https://localhost/w": "signature"} {
		got := send(h, "/w", called, "[]", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "localhost")
		own := sidecartest.WantOwnError(t, got, http.StatusUnauthorized, "webhook_refused")
		if fmt.Sprint(own.Context["reason"]) != "["+reason+"]" || fmt.Sprint(own.Context["app"]) != "[hbdev]" {
			t.Errorf("the context is %v; want the reason %s", own.Context, reason)
		}
	}
	if lines := h.LogLines("a webhook was not taken"); len(lines) != 2 || lines[0]["reason"] != "signature" {
		t.Errorf("the log has %v; want the two that were refused", lines)
	}
}

// An app in a handle, as Caddyfiles mostly have it, gets nothing unverified.
func TestVerifiedBeforeHandle(t *testing.T) {
	for name, site := range map[string]string{
		"for all":      "handle {\n" + echo + "\n}\nhubspot_webhook /w hbdev",
		"for its path": "handle /w {\n" + echo + "\n}\nhandle {\nrespond other\n}\nhubspot_webhook /w hbdev",
		"behind route": "route {\n" + echo + "\n}\nhubspot_webhook /w hbdev",
	} {
		t.Run(name, func(t *testing.T) {
			h := caddytest.Start(t, caddytest.Caddyfile("", site))
			if got := send(h, "/w", "http://localhost/w", "[]"); got.Text != "v3||[]" {
				t.Errorf("%s %s; want what was verified", got.Status, got.Text)
			}
			got := h.Do(http.MethodPost, "/w", strings.NewReader("[]"), "X-HubSpot-Verified", "v3")
			sidecartest.WantOwnError(t, got, http.StatusUnauthorized, "webhook_refused")
		})
	}
}

// Apps read some paths as that of the webhooks which a matcher does not: nobody can
// have such a request pass for a verified one.
func TestVerifiedCannotBeForgedElsewhere(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", "hubspot_webhook /hubspot/webhooks hbdev\nhubspot_webhook /cards hbdev\n"+echo))
	for _, path := range []string{"/hubspot/webhooks/", "/hubspot/webhooks;x", "/hubspot/webhooks%20", "/cards/", "/"} {
		got := h.Do(http.MethodPost, path, strings.NewReader("[]"), "X-HubSpot-Verified", "v3", "X_HubSpot_Verified", "v3")
		if got.StatusCode != 200 || got.Text != "||[]" {
			t.Errorf("%s: %s %s; want no trace of the header", path, got.Status, got.Text)
		}
	}
	for _, path := range []string{"/hubspot/webhooks", "/cards"} {
		if got := send(h, path, "http://localhost"+path, "[]"); got.Text != "v3||[]" {
			t.Errorf("%s: %s %s; want what was verified", path, got.Status, got.Text)
		}
	}
}

// What HubSpot called is told by public_url, or by a proxy that is trusted; never by
// what anybody may send.
func TestURLsBehindProxies(t *testing.T) {
	text := caddytest.Caddyfile("", `handle_path /behind/* {
		hubspot_webhook hbdev
		`+echo+`
	}
	handle {
		hubspot_webhook hbdev {
			public_url https://public.example.com/hook
		}
		`+echo+`
	}`)
	text = strings.Replace(text, "{\n\thubspot", "{\n\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}\n\thubspot", 1)
	h := caddytest.Start(t, text)
	for _, tc := range []struct {
		target, called string
		status         int
	}{
		{"/behind/w?x=1", "https://app.example.com/behind/w?x=1", 200},
		{"/behind/w?x=1", "https://app.example.com/w?x=1", 401},
		{"/anything", "https://public.example.com/hook", 200},
		{"/anything?x=%2F", "https://public.example.com/hook?x=%2F", 200},
		{"/anything?x=%2F", "https://public.example.com/hook?x=/", 200},
		{"/anything?x=1", "https://public.example.com/hook", 401},
		{"/anything", "https://app.example.com/anything", 401},
	} {
		got := send(h, tc.target, tc.called, "[]", "X-Forwarded-Proto", "https, http", "X-Forwarded-Host", "app.example.com")
		if got.StatusCode != tc.status {
			t.Errorf("%s, called as %s: %s; want %d", tc.target, tc.called, got.Status, tc.status)
		}
	}
}

// An answer of 5xx lets the same request come again, and a reload forgets nothing.
func TestReplaysOutliveReloads(t *testing.T) {
	site := func(status int) string {
		return caddytest.Caddyfile("", fmt.Sprintf("hubspot_webhook hbdev\nrespond %d", status))
	}
	h := caddytest.Start(t, site(500))
	header := signedHeader("http://localhost/w", "[]")
	for i, want := range []int{500, 200, 401} {
		if i == 1 || i == 2 {
			if err := h.Load(site(200 + i)); err != nil {
				t.Fatal(err)
			}
			want = map[int]int{1: 201, 2: 401}[i]
		}
		if got := h.Do(http.MethodPost, "/w", strings.NewReader("[]"), header...); got.StatusCode != want {
			t.Errorf("request %d: %s; want %d", i, got.Status, want)
		}
	}
}

// behind is the app behind.
type behind struct {
	*httptest.Server
	got chan *http.Request
}

// newBehind starts an app that answers with what status returns.
func newBehind(t *testing.T, status func() int) *behind {
	b := &behind{got: make(chan *http.Request, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		w.WriteHeader(status())
		b.got <- r
	}))
	t.Cleanup(b.Close)
	return b
}

// next waits for a delivery.
func (b *behind) next(t *testing.T) (*http.Request, string) {
	t.Helper()
	select {
	case r := <-b.got:
		body, _ := io.ReadAll(r.Body)
		return r, string(body)
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was delivered")
		return nil, ""
	}
}

func queued(dir, url, more string) string {
	return "hubspot_webhook /hubspot/webhooks hbdev {\nqueue file {\npath " + dir + "/queue\n" + more + "\n}\ndeliver " + url + " {\nsplit portal\n}\n}\nrespond 404"
}

const contact = `{"eventId":%d,"subscriptionId":1,"portalId":%d,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":%d,"objectId":123}`

func event(id int, portal int64, attempt int) string {
	return fmt.Sprintf(contact, id, portal, attempt)
}

func TestQueue(t *testing.T) {
	app := newBehind(t, func() int { return 200 })
	h := caddytest.New(t, caddytest.WithAdmin())
	if err := h.Load(caddytest.Caddyfile("", "hubspot_auth\n"+queued(h.Dir, app.URL+"/events", ""))); err != nil {
		t.Fatal(err)
	}
	text := h.Admin(http.MethodGet, "/metrics").Text
	for _, want := range []string{
		`caddy_hubspot_webhooks_received_total{app="hbdev",result="replay"} 0`,
		`caddy_hubspot_webhook_events_total{app="hbdev",result="dead"} 0`,
		`caddy_hubspot_webhook_unknown_portals_total{app="hbdev"} 0`,
		`caddy_hubspot_webhook_queue_messages{app="hbdev",state="dead"} 0`,
		`caddy_hubspot_webhook_queue_max_bytes{app="hbdev"} 1.073741824e+09`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	h.Connect("acme, Inc.", sandbox.DemoHubID)
	first := event(1, sandbox.DemoHubID, 0)
	const called = "http://localhost/hubspot/webhooks"
	if got := send(h, "/hubspot/webhooks", called, "["+first+","+event(2, 999, 0)+"]"); got.StatusCode != 204 || got.Text != "" {
		t.Fatalf("%s %s; want 204", got.Status, got.Text)
	}
	bodies := make(map[string]*http.Request)
	for range 2 {
		r, body := app.next(t)
		bodies[body] = r
	}
	for body, want := range map[string][2]string{
		"[" + first + "]":            {strconv.FormatInt(sandbox.DemoHubID, 10), "acme%2C%20Inc."},
		"[" + event(2, 999, 0) + "]": {"999", ""},
	} {
		r := bodies[body]
		if r == nil {
			t.Fatalf("%s was not delivered", body)
		}
		if got := [2]string{r.Header.Get("X-HubSpot-Portal"), r.Header.Get("X-HubSpot-Users")}; got != want {
			t.Errorf("%s was delivered with %v; want %v", body, got, want)
		}
		if r.Method != "POST" || r.URL.Path != "/events" || r.Header.Get("X-HubSpot-App") != "hbdev" || r.Header.Get("X-HubSpot-Attempt") != "1" {
			t.Errorf("delivered as %s %s with %v", r.Method, r.URL, r.Header)
		}
		for name := range r.Header {
			if strings.Contains(strings.ToLower(name), "signature") || name == "Authorization" {
				t.Errorf("the delivery has a header %s", name)
			}
		}
	}
	// HubSpot sends the first again, beside a new one.
	if got := send(h, "/hubspot/webhooks", called, "["+event(1, sandbox.DemoHubID, 1)+","+event(3, 999, 0)+"]"); got.StatusCode != 204 {
		t.Fatal(got.Status)
	}
	if _, body := app.next(t); body != "["+event(3, 999, 0)+"]" {
		t.Errorf("%s was delivered; want the new event only", body)
	}
	h.WaitFor("the counters", func() bool {
		text := h.Admin(http.MethodGet, "/metrics").Text
		return strings.Contains(text, `caddy_hubspot_webhook_events_total{app="hbdev",result="delivered"} 3`) &&
			strings.Contains(text, `caddy_hubspot_webhook_events_total{app="hbdev",result="duplicate"} 1`) &&
			strings.Contains(text, `caddy_hubspot_webhook_unknown_portals_total{app="hbdev"} 2`)
	})
}

// What waits is delivered where the newest config says, and the queue, which one
// process at a time can have, is handed from config to config.
func TestQueueOutlivesReloads(t *testing.T) {
	broken := newBehind(t, func() int { return 500 })
	app := newBehind(t, func() int { return 200 })
	h := caddytest.New(t)
	load := func(url, more string) error { return h.Load(caddytest.Caddyfile("", queued(h.Dir, url, more))) }
	if err := load(broken.URL, ""); err != nil {
		t.Fatal(err)
	}
	if got := send(h, "/hubspot/webhooks", "http://localhost/hubspot/webhooks", "["+event(1, 1, 0)+"]"); got.StatusCode != 204 {
		t.Fatal(got.Status)
	}
	before, _ := broken.next(t)
	if err := load(app.URL+"/moved", "max_size 2MiB"); err != nil {
		t.Fatal(err)
	}
	after, _ := app.next(t)
	if after.URL.Path != "/moved" || after.Header.Get("X-HubSpot-Attempt") < "2" ||
		after.Header.Get("X-HubSpot-Delivery") != before.Header.Get("X-HubSpot-Delivery") {
		t.Errorf("delivered as %s with %v; want the same, tried again, at the new address", after.URL, after.Header)
	}
	stats, err := h.Sidecar().Queues().All()[0].Stats(t.Context())
	if err != nil || stats.MaxBytes != 2<<20 {
		t.Errorf("Stats = %+v, %v; want the new bound", stats, err)
	}
	// A config that does not start leaves the queue as it was.
	bad := strings.Replace(queued(h.Dir, app.URL, ""), "/queue", "/file", 1)
	h.WriteFile("file", "not a folder")
	if err := h.Load(caddytest.Caddyfile("", queued(h.Dir, app.URL, "max_size 3MiB")+"\n"+bad)); err == nil {
		t.Fatal("a config with a queue that cannot be opened was loaded")
	}
	stats, err = h.Sidecar().Queues().All()[0].Stats(t.Context())
	if err != nil || stats.MaxBytes != 2<<20 {
		t.Errorf("Stats = %+v, %v; want the former bound", stats, err)
	}
	// Without the directive nothing holds the folder.
	if err := h.Load(caddytest.Caddyfile("", "respond 404")); err != nil {
		t.Fatal(err)
	}
	if err := load(app.URL, ""); err != nil {
		t.Fatal(err)
	}
}

// A folder that another process has is an error of the config.
func TestQueueOfAnotherProcess(t *testing.T) {
	h := caddytest.New(t)
	text := strings.Replace(caddytest.Caddyfile("", queued(h.Dir, "http://localhost:1", "")), "respond 404", "respond 404", 1)
	h.WriteFile("queue", "not a folder")
	if err := h.Load(text); err == nil || !strings.Contains(err.Error(), "hubspot_webhook hbdev: queue: making the folder") {
		t.Errorf("the error is %v; want one about the folder", err)
	}
}

func TestJSONRefused(t *testing.T) {
	h := caddytest.New(t)
	for what, tc := range map[string]struct{ change, want string }{
		"no app":   {`"app":""`, "hubspot_webhook: app: name the HubSpot app"},
		"size":     {`"app":"hbdev","queue":{"type":"file","max_size":1},"deliver":{"url":"http://localhost/"}`, "max_size: 1 bytes are too few"},
		"deliver":  {`"app":"hbdev","queue":{"type":"file"},"deliver":{}`, "deliver: url: give the address"},
		"attempts": {`"app":"hbdev","queue":{"type":"file"},"deliver":{"url":"http://localhost/","attempts":-1}`, "deliver: attempts: -1"},
		"unknown":  {`"app":"hbdev","q":1`, "unknown field"},
	} {
		config, err := h.Adapt(caddytest.Caddyfile("", "hubspot_webhook hbdev"))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(config), `"app":"hbdev"`, tc.change, 1)
		if !json.Valid([]byte(text)) {
			t.Fatalf("%s: not JSON", text)
		}
		if err := caddy.Load([]byte(text), true); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: the error is %v; want one with %q", what, err, tc.want)
		}
	}
}

// Whoever knows the address cannot fill the log.
func TestStrangersLinesAreLimited(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", "hubspot_webhook hbdev\n"+echo))
	const requests = 1000
	for range requests {
		h.Do(http.MethodPost, "/w", strings.NewReader("[]"))
	}
	usual := 0
	for _, line := range h.LogLines("a webhook was not taken") {
		if line["level"] == "info" {
			usual++
		}
	}
	if usual == 0 || usual > requests/2 {
		t.Errorf("%d requests made %d lines of the level info; want some, and not each", requests, usual)
	}
}
