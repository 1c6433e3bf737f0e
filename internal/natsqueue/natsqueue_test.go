package natsqueue_test

import (
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/natsqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/natstest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue/queuetest"
)

var shared natstest.Shared

// lease is short, so that what was killed is soon another's, and long enough for a
// busy machine.
const lease = 2 * time.Second

func settings(t testing.TB, s *natstest.Server) natsqueue.Config {
	name := "S" + rand.Text()[:8]
	return natsqueue.Config{
		URLs: []string{s.URL()}, Stream: name, Subject: name, Lease: lease, MaxBytes: 64 << 20,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func open(t testing.TB, config natsqueue.Config) *natsqueue.Queue {
	t.Helper()
	q, err := natsqueue.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestSuite(t *testing.T) {
	queuetest.Run(t, queuetest.Suite{RealTime: true, Fresh: func(t *testing.T) queuetest.Storage {
		config := settings(t, shared.Server(t))
		config.Lease = 300 * time.Millisecond
		return queuetest.Storage{
			Open: func(t *testing.T, maxBytes int64) webhookqueue.Queue {
				config := config
				if maxBytes > 0 {
					config.MaxBytes = maxBytes
				}
				return open(t, config)
			},
			Kill: func(q webhookqueue.Queue) { q.(*natsqueue.Queue).Kill() },
		}
	}})
}
