// Package natstest starts real NATS servers with JetStream for tests. It is
// imported by tests only.
//
// The server in the nested module internal/natstest/server is built once and kept
// in the user's cache directory. Without it tests fail; they are never skipped.
package natstest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/testserver"
)

// startTimeout bounds every wait for a server, on a busy machine.
const startTimeout = 60 * time.Second

// Server is one NATS server. Its methods are for one test at a time; a server that
// tests share must not be stopped.
type Server struct {
	// Address is host and port of its listener on the loopback interface.
	Address string

	dir     string
	remove  string
	config  string
	process *testserver.Process
}

// URL is where clients connect.
func (s *Server) URL() string { return "nats://" + s.Address }

// Start starts a server of the test's own and stops it when the test ends. config
// is added to its configuration file, in the form that is documented at
// https://docs.nats.io/running-a-nats-service/configuration.
func Start(tb testing.TB, config string) *Server {
	tb.Helper()
	s := newServer(tb, tb.TempDir(), "", config)
	tb.Cleanup(func() { s.process.Stop() })
	return s
}

// Shared is a server that the tests of a package have in common: each works with
// streams of its own. It is started by the first that asks for it and ends with the
// process. The zero value is ready.
type Shared struct {
	once   sync.Once
	server *Server
}

// Server returns the server.
func (sh *Shared) Server(tb testing.TB) *Server {
	tb.Helper()
	sh.once.Do(func() {
		dir, err := os.MkdirTemp("", "natstest")
		if err != nil {
			tb.Fatalf("creating a directory for NATS: %v", err)
		}
		sh.server = newServer(tb, dir, dir, "")
	})
	if sh.server == nil {
		tb.Fatal("the shared NATS server did not start; see the first test that needed it")
	}
	return sh.server
}

func newServer(tb testing.TB, dir, remove, config string) *Server {
	tb.Helper()
	s := &Server{dir: dir, remove: remove, config: config, Address: "127.0.0.1:-1"}
	if !s.start(tb) {
		tb.Fatalf("NATS does not start: %s", testserver.Tail(s.logFile()))
	}
	return s
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "nats.log") }

// Stop ends the process. The data stays.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.process.Stop()
}

// Kill ends the process as a crash would. The data stays.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.process.Kill()
}

// Restart starts the process again on the same data and address, after Stop or
// Kill.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for !s.start(tb) {
		if time.Now().After(deadline) {
			tb.Fatalf("NATS's port is taken: %s", testserver.Tail(s.logFile()))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// start starts the process and waits until it serves. It reports false if the port
// was taken.
func (s *Server) start(tb testing.TB) bool {
	tb.Helper()
	binary, err := testserver.Build("nats-server", "internal/natstest/server")
	if err != nil {
		tb.Fatalf("no NATS to test with: make the Go module proxy reachable so that internal/natstest/server can be built: %v", err)
	}
	config := filepath.Join(s.dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\nserver_name: test\njetstream: { store_dir: %q }\nports_file_dir: %q\n%s\n",
		s.Address, filepath.Join(s.dir, "data"), s.dir, s.config)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatalf("writing NATS's configuration: %v", err)
	}
	for _, old := range s.portsFiles() {
		_ = os.Remove(old)
	}
	remove := s.remove
	if s.process, err = testserver.Start(s.logFile(), remove, binary, "-c", config); err != nil {
		tb.Fatal(err)
	}
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if s.process.HasEnded() {
			if strings.Contains(testserver.Tail(s.logFile()), "address already in use") {
				return false
			}
			tb.Fatalf("NATS ended at its start: %s", testserver.Tail(s.logFile()))
		}
		if s.listens() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.process.Kill()
	tb.Fatalf("NATS does not answer: %s", testserver.Tail(s.logFile()))
	return false
}

func (s *Server) portsFiles() []string {
	files, _ := filepath.Glob(filepath.Join(s.dir, "*.ports"))
	return files
}

// listens reports whether the server has said where it listens, which it does when
// it is ready, and whether it does.
func (s *Server) listens() bool {
	for _, file := range s.portsFiles() {
		var ports struct {
			NATS []string `json:"nats"`
		}
		content, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(content, &ports) != nil || len(ports.NATS) == 0 {
			continue
		}
		_, address, _ := strings.Cut(ports.NATS[0], "://")
		conn, err := net.DialTimeout("tcp", address, startTimeout)
		if err != nil {
			return false
		}
		_ = conn.Close()
		s.Address = address
		return true
	}
	return false
}
