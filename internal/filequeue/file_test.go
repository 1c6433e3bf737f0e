package filequeue_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/filequeue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// message is one in a lane, without a key.
func message(id string, size int) webhookqueue.Message {
	return webhookqueue.Message{
		ID: id, App: "hbdev", Portal: 1, Lane: "one", ReceivedAt: time.Now(),
		Events: []webhookqueue.Event{{JSON: []byte(`"` + strings.Repeat("x", size) + `"`)}},
	}
}

func put(t *testing.T, q *filequeue.Queue, messages ...webhookqueue.Message) {
	t.Helper()
	if _, err := q.Put(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, q *filequeue.Queue, id string) webhookqueue.Delivery {
	t.Helper()
	d, err := q.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Message().ID != id {
		t.Fatalf("received %s; want %s", d.Message().ID, id)
	}
	return d
}

func closeQueue(t *testing.T, q *filequeue.Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreTheirOwnersOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "queue")
	closeQueue(t, open(t, path, 0))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v; want 0700", info.Mode(), err)
	}
	for _, name := range []string{"queue.db", "queue.lock"} {
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v; want 0600", name, info.Mode(), err)
		}
	}
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir()
		first := open(t, path, 0)
		if _, err := filequeue.Open(filequeue.Options{Path: path}); err == nil || !strings.Contains(err.Error(), "another process has it") {
			t.Errorf("opening it twice: error = %v; want one that says who has it", err)
		}
		closeQueue(t, first)
		closeQueue(t, open(t, path, 0))
	})
}

// A message whose bytes have rotted is put away, and those behind it come.
func TestDamagedMessagesArePutAway(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	q := open(t, path, 0)
	put(t, q, message("a", 10), message("b", 10), message("c", 10))
	closeQueue(t, q)
	db, err := bolt.Open(filepath.Join(path, "queue.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		messages := tx.Bucket([]byte("messages"))
		k, v := messages.Cursor().First()
		damaged := append([]byte(nil), v...)
		damaged[len(damaged)/2] ^= 1
		return messages.Put(append([]byte(nil), k...), damaged)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, path, 0)
	for _, id := range []string{"b", "c"} {
		if err := receive(t, q, id).Done(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := q.Stats(t.Context()); err != nil || s.Waiting != 0 || s.Bytes != 0 {
		t.Errorf("Stats = %+v, %v; want it empty", s, err)
	}
	closeQueue(t, q)
}

// What has torn at the end of the file, or was never written, is not taken for
// something.
func TestTornFiles(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	q := open(t, path, 0)
	for i := range 20 {
		put(t, q, message(fmt.Sprint(i), 2000))
	}
	closeQueue(t, q)
	content, err := os.ReadFile(filepath.Join(path, "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 100, len(content) / 2, len(content) - 1} {
		torn := t.TempDir()
		if err := os.WriteFile(filepath.Join(torn, "queue.db"), content[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if q, err := filequeue.Open(filequeue.Options{Path: torn}); err == nil {
			// The roots are there; what they lead to is not.
			_, _ = q.List(t.Context(), false, "", 100)
			_ = q.Close()
		}
	}
	// The newest root is torn: the one before it counts.
	torn := t.TempDir()
	page := os.Getpagesize()
	newest := content[:page]
	if string(content[page+16+48:page+16+56]) > string(newest[16+48:16+56]) {
		newest = content[page : 2*page]
	}
	for i := 16; i < 16+64; i++ {
		newest[i] ^= 0xff
	}
	if err := os.WriteFile(filepath.Join(torn, "queue.db"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	q = open(t, torn, 0)
	if s, err := q.Stats(t.Context()); err != nil || s.Waiting < 19 {
		t.Errorf("with one root torn there are %d messages, %v; want 19 at least", s.Waiting, err)
	}
	if err := receive(t, q, "0").Done(t.Context()); err != nil {
		t.Error(err)
	}
	closeQueue(t, q)
}

// Room is given back to the disk once messages are delivered.
func TestFileGetsSmaller(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	q := open(t, path, 0)
	const n = 48
	var batch []webhookqueue.Message
	for i := range n {
		batch = append(batch, message(fmt.Sprint(i), 1<<20))
	}
	put(t, q, batch...)
	put(t, q, message("last", 1))
	for i := range n {
		if err := receive(t, q, fmt.Sprint(i)).Done(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put(t, q, message("more", 1))
	info, err := os.Stat(filepath.Join(path, "queue.db"))
	if err != nil || info.Size() > 33<<20 {
		t.Errorf("the file has %d bytes, %v; want few", info.Size(), err)
	}
	d := receive(t, q, "last")
	closeQueue(t, q)
	if err := d.Done(t.Context()); !errors.Is(err, webhookqueue.ErrClosed) {
		t.Errorf("Done after Close: error = %v; want ErrClosed", err)
	}
	q = open(t, path, 0)
	for _, id := range []string{"last", "more"} {
		if err := receive(t, q, id).Done(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	closeQueue(t, q)
}
