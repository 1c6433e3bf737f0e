//go:build unix && !solaris && !aix

package filelock

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lockName is the lock that tests take.
const lockName = "x.lock"

// TestMain is the process of another sidecar where HOLD is set: it takes the lock
// in its folder, says so, and keeps it until it is killed.
func TestMain(m *testing.M) {
	if os.Getenv("HOLD") == "" {
		os.Exit(m.Run())
	}
	release, err := Hold(context.Background(), lockName)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("held\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	release()
}

// Those who want the lock have it one after the other, and nothing is left.
func TestHoldOneByOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lockName)
	var holders, held atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				release, err := Hold(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				holders.Add(-1)
				held.Add(1)
				release()
			}
		})
	}
	wg.Wait()
	if held.Load() != 800 {
		t.Errorf("the lock was held %d times, want 800", held.Load())
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

// A lock ends with its process, however that ends, and whoever had it before.
func TestHoldOfAKilledProcess(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, lockName)
	release, err := Hold(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	itself, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.CommandContext(t.Context(), itself)
	other.Env, other.Dir = append(os.Environ(), "HOLD=yes"), folder
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// It is open for as long as the other process is to live.
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	release()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Hold(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the other's lock: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	release, err = Hold(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	release()
}
