package natsqueue_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/caddy-hubspot/caddy-hubspot/internal/natsqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/natstest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

func client(t *testing.T, url string, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func put(t *testing.T, q *natsqueue.Queue, m webhookqueue.Message) error {
	t.Helper()
	_, err := q.Put(t.Context(), []webhookqueue.Message{m})
	return err
}

// Nobody listens: opening works, putting fails in time, and says where the fault is.
func TestServerAway(t *testing.T) {
	t.Parallel()
	config := settings(t, shared.Server(t))
	config.URLs = []string{"nats://127.0.0.1:1"}
	q := open(t, config)
	defer q.Close()
	began := time.Now()
	err := put(t, q, message(1, "", "a"))
	if !errors.Is(err, webhookqueue.ErrUnavailable) || !strings.Contains(err.Error(), "connecting to NATS") {
		t.Errorf("Put: error = %v; want ErrUnavailable, and why", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Put took %v; HubSpot gives up after 5 s", took)
	}
}

// A stream that does not fit is not used, and the error names what is wrong. A size
// that the settings name is set.
func TestStreamThatIsThere(t *testing.T) {
	t.Parallel()
	config := settings(t, shared.Server(t))
	js := client(t, config.URLs[0])
	made := jetstream.StreamConfig{Name: config.Stream, Subjects: []string{config.Subject + ".>"}, Retention: jetstream.WorkQueuePolicy}
	if _, err := js.CreateStream(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	q := open(t, config)
	err := put(t, q, message(1, "", "a"))
	for _, want := range []string{"retention is WorkQueue, not Limits", "max_msgs_per_subject is -1, not 1", "allow_atomic", "discard", "nats stream edit " + config.Stream} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Put: error = %v; want it to name %q", err, want)
		}
	}
	_ = q.Close()
	if err := js.DeleteStream(t.Context(), config.Stream); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1 << 20, 2 << 20} {
		config.MaxBytes = size
		q := open(t, config)
		if err := put(t, q, message(1, "", fmt.Sprint(size))); err != nil {
			t.Errorf("Put: %v", err)
		}
		if s, err := q.Stats(t.Context()); err != nil || s.MaxBytes != size {
			t.Errorf("Stats = %+v, %v; want %d bytes at most", s, err, size)
		}
		_ = q.Close()
	}
}

const restricted = `
authorization: { users: [
	{ user: admin, password: "admin-secret" }
	{ user: sidecar, password: "planted-secret", permissions: {
		publish: { deny: ["$JS.API.STREAM.CREATE.>"] } } }
] }`

// Who may not make the stream is told what to run; when it is there everything works.
func TestStreamMayNotBeMade(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, restricted)
	var log bytes.Buffer
	config := settings(t, server)
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	config.User, config.Password = "sidecar", secret.New("planted-secret")
	q := open(t, config)
	var err error
	for began := time.Now(); time.Since(began) < patience; {
		if err = put(t, q, message(1, "", "a")); err != nil && strings.Contains(err.Error(), "nats stream add") {
			break
		}
	}
	_ = q.Close()
	want := "nats stream add " + config.Stream
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("Put: error = %v; want it to say: %s", err, want)
	}
	_, text, _ := strings.Cut(err.Error(), "in stream.json: ")
	if strings.Contains(err.Error()+log.String(), "planted-secret") {
		t.Error("the password is in an error or in the log")
	}

	// An administrator does what the error says.
	admin := client(t, server.URL(), nats.UserInfo("admin", "admin-secret"))
	answer, err := admin.Conn().Request("$JS.API.STREAM.CREATE."+config.Stream, []byte(text), patience)
	if err != nil || strings.Contains(string(answer.Data), `"error"`) {
		t.Fatalf("making the stream as the error says: %v, %s", err, answer.Data)
	}
	for _, bucket := range []jetstream.KeyValueConfig{
		{Bucket: config.Stream + "_STATE", LimitMarkerTTL: time.Hour}, {Bucket: config.Stream + "_OWNERS", TTL: lease},
	} {
		if _, err := admin.CreateKeyValue(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	q = open(t, config)
	defer q.Close()
	if err := put(t, q, message(1, "", "a")); err != nil {
		t.Fatalf("Put: %v", err)
	}
	if err := receive(t, q).Done(t.Context()); err != nil {
		t.Errorf("Done: %v", err)
	}
}

// A server over TLS, with a token and a client certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := vaulttest.NewAuthority(t, dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	authority.IssueClient(t, "localhost", file("cert.pem"), file("key.pem"))
	authority.IssueServer(t, file("server.pem"), file("server-key.pem"))
	server := natstest.Start(t, fmt.Sprintf(`
		authorization: { token: "planted-token" }
		tls: { cert_file: %q, key_file: %q, ca_file: %q, verify: true }`, file("server.pem"), file("server-key.pem"), authority.File))
	config := settings(t, server)
	config.URLs = []string{"tls://" + server.Address}
	config.Token = secret.New("planted-token")
	for _, tc := range []struct {
		name string
		tls  natsqueue.TLS
		ok   bool
	}{
		{"all", natsqueue.TLS{CAFile: authority.File, ClientCertFile: file("cert.pem"), ClientKeyFile: file("key.pem")}, true},
		{"no client certificate", natsqueue.TLS{CAFile: authority.File}, false},
		{"unknown authority", natsqueue.TLS{ClientCertFile: file("cert.pem"), ClientKeyFile: file("key.pem")}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			config := config
			config.TLS = tc.tls
			q := open(t, config)
			defer q.Close()
			if err := put(t, q, message(1, "", tc.name)); (err == nil) != tc.ok {
				t.Errorf("Put: error = %v", err)
			}
		})
	}
}

// A webhook as large as HubSpot's may be goes through a server that takes 1 MB, if it
// can be compressed; if not, the error says what to set, and nobody else suffers.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	q := open(t, settings(t, shared.Server(t)))
	defer q.Close()
	m := message(1, "", "large")
	m.Events[0].JSON = []byte(`"` + strings.Repeat("all the same ", 1<<20/13) + `"`)
	if err := put(t, q, m); err != nil {
		t.Fatalf("Put: %v", err)
	}
	d := receive(t, q)
	if got := d.Message().Events[0].JSON; !bytes.Equal(got, m.Events[0].JSON) {
		t.Errorf("received %d bytes; want %d as they were put", len(got), len(m.Events[0].JSON))
	}
	_ = d.Done(t.Context())
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	body := webhookqueue.Message{ID: "noise", App: "hbdev", Body: noise, ReceivedAt: time.Now()}
	if err := put(t, q, body); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("Put: error = %v; want it to name max_payload", err)
	}
	if err := put(t, q, message(1, "", "small")); err != nil {
		t.Errorf("Put: %v", err)
	}
}

// Settings change while the queue is open: what is out stays out, and the new
// settings are what counts.
func TestConfigure(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, restricted)
	config := settings(t, server)
	config.User, config.Password = "admin", secret.New("admin-secret")
	q := open(t, config)
	defer q.Close()
	if err := put(t, q, message(1, "l", "a")); err != nil {
		t.Fatal(err)
	}
	d := receive(t, q)
	wrong := config
	wrong.Password = secret.New("planted-secret")
	if err := q.Configure(wrong); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	if err := put(t, q, message(1, "l", "b")); !isUnavailable(err) || strings.Contains(err.Error(), "planted-secret") {
		t.Errorf("Put with a wrong password: error = %v; want ErrUnavailable without it", err)
	}
	config.MaxBytes = 32 << 20
	if err := q.Configure(config); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	for err := put(t, q, message(1, "l", "b")); err != nil; {
		if !isUnavailable(err) {
			t.Fatal(err)
		}
		err = put(t, q, message(1, "l", "b"))
	}
	if s, err := q.Stats(t.Context()); err != nil || s.MaxBytes != 32<<20 || s.Waiting != 2 {
		t.Errorf("Stats = %+v, %v; want two waiting, in 32 MiB", s, err)
	}
	if err := d.Done(t.Context()); err != nil {
		t.Errorf("Done: %v", err)
	}
	next := receive(t, q)
	if next.Message().ID != "b" {
		t.Errorf("received %s; want b", next.Message().ID)
	}
	if err := next.Done(t.Context()); err != nil {
		t.Errorf("Done: %v", err)
	}
	config.Stream = "OTHER"
	if err := q.Configure(config); err == nil {
		t.Error("another stream is taken")
	}
}
