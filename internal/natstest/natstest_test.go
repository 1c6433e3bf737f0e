package natstest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/caddy-hubspot/caddy-hubspot/internal/natstest"
)

func TestServerKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, "")
	address := s.Address
	conn, err := nats.Connect(s.URL(), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for i, end := range []func(testing.TB){s.Stop, s.Kill} {
		if _, err := js.Publish(t.Context(), "s", []byte("planted")); err != nil {
			t.Fatal(err)
		}
		end(t)
		s.Restart(t)
		if s.Address != address {
			t.Fatalf("the server is at %s; want it at %s as before", s.Address, address)
		}
		for !conn.IsConnected() {
			time.Sleep(time.Millisecond)
		}
		stream, err := js.Stream(t.Context(), "S")
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Msgs; got != uint64(i+1) {
			t.Errorf("the stream has %d messages; want %d", got, i+1)
		}
	}
}
