package command_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Dead letters are listed, sent again and dropped, by the command and so by the
// admin API.
func TestWebhooksCommand(t *testing.T) {
	var status atomic.Int32
	status.Store(418)
	attempts := make(chan string, 100)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(status.Load()))
		attempts <- r.Header.Get("X-HubSpot-Delivery") + " " + r.Header.Get("X-HubSpot-Attempt")
	}))
	defer app.Close()
	h := caddytest.New(t, caddytest.WithAdmin())
	site := "hubspot_webhook hbdev {\nqueue file {\npath " + h.Dir + "/queue\n}\ndeliver " + app.URL + " {\nattempts 1\n}\n}"
	if err := h.Load(caddytest.Caddyfile("", site)); err != nil {
		t.Fatal(err)
	}
	address := "--address=unix/" + h.AdminSocket()
	run := func(args ...string) (string, error) {
		return runCommand(t, append([]string{"webhooks", address}, args...)...)
	}
	list := func(args ...string) (list []adminapi.Webhook) {
		t.Helper()
		out, err := run(args...)
		if err != nil || json.Unmarshal([]byte(out), &list) != nil || list == nil {
			t.Fatalf("%v: %v, %s", args, err, out)
		}
		return list
	}
	if got := list(); len(got) != 0 {
		t.Fatalf("there are %v; want none", got)
	}
	queue := h.Sidecar().Queues().All()[0]
	for _, id := range []string{"one", "two"} {
		m := webhookqueue.Message{ID: id, App: "hbdev", Portal: 62515, ReceivedAt: time.Now(), Events: []webhookqueue.Event{{JSON: []byte("{}")}}}
		if _, err := queue.Put(t.Context(), []webhookqueue.Message{m}); err != nil {
			t.Fatal(err)
		}
	}
	wantDead := func(n int) {
		t.Helper()
		h.WaitFor("dead letters", func() bool { return len(list("dead")) == n })
	}
	wantDead(2)
	for _, args := range [][]string{{"list"}, {"dead", "--json"}, {}} {
		got := list(args...)
		if len(got) != 2 || got[0].ID != "one" && got[0].ID != "two" {
			t.Fatalf("%v: %+v; want both", args, got)
		}
		e := got[0]
		if e.App != "hbdev" || e.Portal != 62515 || e.Attempts != 1 || e.LastStatus != 418 || e.Events != 1 || e.State != "dead" || e.LastAt == nil || e.FirstAt.IsZero() {
			t.Errorf("%v: %+v; want one attempt, answered 418", args, e)
		}
	}
	for range 2 {
		<-attempts
	}
	if out, err := run("drop", "two"); err != nil || !strings.Contains(out, `"dropped": 1`) {
		t.Errorf("drop: %v, %s", err, out)
	}
	wantDead(1)
	if out, err := run("retry", "one"); err != nil || !strings.Contains(out, `"retried": 1`) {
		t.Errorf("retry: %v, %s", err, out)
	}
	if got := <-attempts; got != "one 1" {
		t.Errorf("attempt %s; want the first of the same delivery", got)
	}
	wantDead(1)
	status.Store(200)
	if out, err := run("retry", "--all"); err != nil || !strings.Contains(out, `"retried": 1`) {
		t.Errorf("retry --all: %v, %s", err, out)
	}
	<-attempts
	h.WaitFor("the delivery", func() bool { return len(list()) == 0 })
	if out, err := run("retry", "--all"); err != nil || !strings.Contains(out, `"retried": 0`) {
		t.Errorf("retry --all of nothing: %v, %s", err, out)
	}
	for _, tc := range []struct {
		text, code string
		args       []string
	}{
		{"there is no dead letter", "", []string{"retry", "one"}},
		{"there is no dead letter", "", []string{"drop", "one"}},
		{"say list, dead", "2", []string{"send"}},
		{"say list, dead", "2", []string{"retry"}},
		{"say list, dead", "2", []string{"retry", "one", "--all"}},
		{"say list, dead", "2", []string{"drop", "--all"}},
		{"unknown flag: --al", "2", []string{"retry", "--al"}},
		{"limit", "2", []string{"--limit=0"}},
		{"performing request", "2", []string{"--address=unix//nowhere"}},
	} {
		_, err := run(tc.args...)
		if err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v: %v, want %s", tc.args, err, tc.text)
		} else if code := exitCode(err); code != tc.code && (tc.code != "" || code != "1") {
			t.Errorf("%v: exit code %q, want %q", tc.args, code, tc.code)
		}
	}
	for body, want := range map[string]int{
		`{"id":"x","all":true}`: 400, `{}`: 400, `{"ids":["x"]}`: 400, `{"id":"x"}`: 404, `{"all":"true"}`: 400,
	} {
		got := h.AdminBody(http.MethodPost, adminapi.WebhooksRetry, body, "application/json")
		if got.StatusCode != want {
			t.Errorf("POST %s: %s, want %s", body, got.Status, strconv.Itoa(want))
		}
	}
	if got := h.AdminBody(http.MethodPost, adminapi.WebhooksDrop, `{"all":true}`, "application/json"); got.StatusCode != 400 {
		t.Errorf("dropping all: %s", got.Status)
	}
	for path, want := range map[string]int{adminapi.Webhooks + "?state=x": 400, adminapi.Webhooks + "/other": 404, adminapi.WebhooksRetry: 405} {
		if got := h.Admin(http.MethodGet, path); got.StatusCode != want {
			t.Errorf("GET %s: %s, want %d", path, got.Status, want)
		}
	}
}
