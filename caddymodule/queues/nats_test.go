package queues_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/natstest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestGoldenCaddyfiles(t *testing.T) { caddytest.Golden(t, "testdata") }

// inNATS keeps webhooks in NATS and delivers them to an app.
func inNATS(server, app, more string) string {
	return caddytest.Caddyfile("", "hubspot_webhook /hubspot/webhooks hbdev {\nqueue nats "+server+" {\n"+more+"\n}\ndeliver "+app+" {\nsplit portal\norder portal\n}\n}\nrespond 404")
}

// Each wrong setting is refused by its name, with the line where it stands.
func TestNATSRefused(t *testing.T) {
	t.Setenv("NATS_PASSWORD", "planted-secret")
	const first = 2 // of the setting, counted from hubspot_webhook
	tests := map[string]struct {
		server, more string
		line         int // 0 where the error has none
		want         string
	}{
		"no server":            {"", "", first, "queue nats: give the address of a NATS server"},
		"server":               {"http://a", "", first, `queue nats: url "http://a": give one such as nats://nats.internal:4222`},
		"password in the url":  {"nats://u:planted-secret@a", "", first, "queue nats: url: it holds a user or password"},
		"server, expanded":     {"{env.HUBSPOT_CLIENT_ID}", "", 0, "queue nats: url"},
		"unknown setting":      {"nats://a", "queue x", first + 1, `queue nats: unknown setting "queue"; there are: ca, client_cert, client_key, credentials, max_size, password, replicas, stream, subject, token, user`},
		"stream":               {"nats://a", "stream a.b", 0, `queue nats: stream "a.b": give a name`},
		"subject":              {"nats://a", "subject a.>", 0, `queue nats: subject "a.>": give what all subjects begin with`},
		"max_size":             {"nats://a", "max_size 1KiB", first + 1, `max_size: "1KiB" is not a size of 1MiB or more`},
		"replicas":             {"nats://a", "replicas 7", first + 1, `replicas: "7" is not a number from 1 to 5`},
		"password, literally":  {"nats://a", "user u\npassword planted-secret", first + 2, "password: "},
		"token, literally":     {"nats://a", "token planted-secret", first + 1, "token: "},
		"no user":              {"nats://a", "password {env.NATS_PASSWORD}", 0, "queue nats: password: user is missing"},
		"no password":          {"nats://a", "user u", 0, "queue nats: user: password is missing"},
		"two logins":           {"nats://a", "token {env.NATS_PASSWORD}\nuser u\npassword {env.NATS_PASSWORD}", 0, "queue nats: give one of credentials, user with password, and token"},
		"credentials":          {"nats://a", "credentials /no/such", 0, "queue nats: credentials: open /no/such"},
		"authority":            {"nats://a", "ca /no/such", 0, "queue nats: ca: open /no/such"},
		"client certificate":   {"nats://a", "client_cert /no/such", 0, "queue nats: client_cert: client_key is missing"},
		"empty placeholder":    {"nats://a", "stream {env.NO_SUCH}", 0, "queue nats: stream:"},
		"setting without more": {"nats://a", "stream", first + 1, "stream: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := inNATS(tt.server, "http://localhost:3000/", tt.more)
			err := caddytest.New(t).Load(text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("the error is %v, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "planted-secret") {
				t.Errorf("the error has the secret: %v", err)
			}
			if tt.line == 0 {
				return
			}
			before, _, _ := strings.Cut(text, "hubspot_webhook")
			if want := fmt.Sprintf("Caddyfile:%d", strings.Count(before, "\n")+tt.line); !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v, want it at %s", err, want)
			}
		})
	}
}

const (
	called = "http://localhost/hubspot/webhooks"
	event  = `[{"eventId":1,"subscriptionId":1,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":%d,"objectId":123}]`
)

// send sends a body as HubSpot does, and returns the status.
func send(h *caddytest.Harness, body string) int {
	s := hubspot.Signed{Method: "POST", URL: called, Body: []byte(body), Timestamp: strconv.FormatInt(time.Now().UnixMilli(), 10)}
	return h.Do(http.MethodPost, "/hubspot/webhooks", strings.NewReader(body), hubspot.HeaderTimestamp, s.Timestamp,
		hubspot.HeaderSignatureV3, s.Sign(hubspot.SignatureV3, secret.New(caddytest.ClientSecret))).StatusCode
}

// From HubSpot through NATS to the app behind. The config loads while NATS is away,
// HubSpot is told to come again, and it is nobody's task to do anything when NATS is
// back. The password is nowhere.
func TestNATS(t *testing.T) {
	t.Setenv("NATS_PASSWORD", "planted-secret")
	server := natstest.Start(t, `authorization: { user: sidecar, password: "planted-secret" }`)
	server.Stop(t)
	got := make(chan string, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Header.Get("X-HubSpot-Attempt") + " " + string(body)
	}))
	defer app.Close()

	h := caddytest.New(t, caddytest.WithAdmin())
	text := inNATS(server.URL(), app.URL, "user sidecar\npassword {env.NATS_PASSWORD}\nmax_size 64MiB")
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	first := fmt.Sprintf(event, 0)
	began := time.Now()
	if status := send(h, first); status != http.StatusServiceUnavailable {
		t.Errorf("with NATS away HubSpot gets %d; want 503", status)
	}
	if took := time.Since(began); took > 4500*time.Millisecond {
		t.Errorf("with NATS away HubSpot waits %v; it gives up after 5 s", took)
	}
	server.Restart(t)
	h.WaitFor("NATS to be back", func() bool { return send(h, first) == http.StatusNoContent })
	// HubSpot's own retry, after a reload with another size.
	if err := h.Load(strings.Replace(text, "64MiB", "32MiB", 1)); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the queue to go on", func() bool { return send(h, fmt.Sprintf(event, 1)) == http.StatusNoContent })
	select {
	case body := <-got:
		if body != "1 "+first {
			t.Errorf("delivered %s; want %s as the first attempt", body, first)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was delivered")
	}
	h.WaitFor("an empty queue of the new size", func() bool {
		stats, err := h.Sidecar().Queues().All()[0].Stats(t.Context())
		return err == nil && stats.Waiting == 0 && stats.Dead == 0 && stats.MaxBytes == 32<<20
	})
	if len(got) > 0 {
		t.Errorf("the same event was delivered again: %s", <-got)
	}
	for what, text := range map[string]string{"the log": h.Logs.String(), "the admin API": h.Admin(http.MethodGet, "/config/").Text} {
		if strings.Contains(text, "planted-secret") {
			t.Errorf("%s has the password", what)
		}
	}
}
