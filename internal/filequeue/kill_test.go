//go:build unix

package filequeue_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// The environment of a child says what it is to do, and where.
const (
	childTask = "FILEQUEUE_CHILD_TASK"
	childPath = "FILEQUEUE_CHILD_PATH"
)

// child starts this test again as another process.
func child(t *testing.T, test, task, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path)
	return cmd
}

// Whatever Put has returned for is there after kill -9, over and over.
func TestKill(t *testing.T) {
	t.Parallel()
	if os.Getenv(childTask) == "put" {
		putForever(t, os.Getenv(childPath))
		return
	}
	path := t.TempDir()
	stored := make(map[string]bool)
	for round := range 4 {
		cmd := child(t, "TestKill", "put", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "stored "); ok {
				stored[id] = true
				n++
			}
			if n == 40+round*17 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
	}
	q := open(t, path, 0)
	defer closeQueue(t, q)
	entries, err := q.List(t.Context(), false, "", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		delete(stored, e.ID)
	}
	if len(entries) < 200 || len(stored) > 0 {
		t.Errorf("of %d messages that are there %d are missing that were stored: %v", len(entries), len(stored), stored)
	}
}

func putForever(t *testing.T, path string) {
	q := open(t, path, 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100_000 {
				id := fmt.Sprintf("%d-%d-%p", os.Getpid(), i, &i)
				if _, err := q.Put(t.Context(), []webhookqueue.Message{message(id, 300)}); err != nil {
					t.Error(err)
					return
				}
				fmt.Println("stored", id)
			}
		})
	}
	wg.Wait()
}

// A disk without room is ErrFull, and nothing else: what is delivered makes room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(childTask) == "fill" {
		fillDisk(t, os.Getenv(childPath))
		return
	}
	out, err := child(t, "TestFullDisk", "fill", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func fillDisk(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	q := open(t, path, 0)
	fill := func() (n int, err error) {
		for ; n < 1000; n++ {
			if _, err := q.Put(t.Context(), []webhookqueue.Message{message(fmt.Sprint(n), 10_000)}); err != nil {
				return n, err
			}
		}
		return n, nil
	}
	full, err := fill()
	if !errors.Is(err, webhookqueue.ErrFull) || full < 20 {
		t.Fatalf("after %d messages: error = %v; want ErrFull", full, err)
	}
	for i := range full {
		if err := receive(t, q, fmt.Sprint(i)).Done(t.Context()); err != nil {
			t.Fatalf("Done on a full disk: %v", err)
		}
	}
	if again, err := fill(); again < full/2 {
		t.Errorf("after everything was delivered %d messages went in, %v; want about %d", again, err, full)
	}
	closeQueue(t, q)
}
