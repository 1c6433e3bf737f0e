package filequeue_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/filequeue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue/queuetest"
)

func open(t *testing.T, path string, maxBytes int64) *filequeue.Queue {
	t.Helper()
	q, err := filequeue.Open(filequeue.Options{Path: path, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// The file as it is when the process is killed is a copy of it at any time:
// nothing of the queue is in memory only.
func TestSuite(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, queuetest.Suite{Fresh: func(t *testing.T) queuetest.Storage {
		path := t.TempDir()
		return queuetest.Storage{
			Open: func(t *testing.T, maxBytes int64) webhookqueue.Queue { return open(t, path, maxBytes) },
			Kill: func(q webhookqueue.Queue) {
				killed := path
				path = t.TempDir()
				content, err := os.ReadFile(filepath.Join(killed, "queue.db"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(path, "queue.db"), content, 0o600); err != nil {
					t.Fatal(err)
				}
				_ = q.Close()
			},
		}
	}})
}
