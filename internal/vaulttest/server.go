package vaulttest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/testserver"
)

// startTimeout bounds every wait for a node, on a busy machine.
const startTimeout = 60 * time.Second

// Server is one Vault node. Its methods are for one test at a time; a server
// that tests share must not be sealed or stopped.
type Server struct {
	// Address is the node's URL over plain HTTP.
	Address string
	// TLSAddress is its URL over HTTPS. The certificate is for localhost
	// and 127.0.0.1 and of the authority in CAFile. Client certificates
	// are asked for and not required.
	TLSAddress string
	// CAFile holds the authority of TLSAddress, as PEM.
	CAFile string
	// RootToken may do everything.
	RootToken string
	// AuditLog is the file of the audit device.
	AuditLog string

	authority *Authority
	unsealKey string
	dir       string
	remove    string
	ports     [4]int // HTTP, its cluster, HTTPS, its cluster
	process   *testserver.Process
	client    *http.Client
}

// Start starts a node of the test's own, unsealed, and stops it when the
// test ends.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := newServer(tb, tb.TempDir(), false)
	tb.Cleanup(func() { s.process.Stop() })
	s.initialize(tb)
	return s
}

// Shared is a node that the tests of a package have in common: each works on
// a mount of its own. It is started by the first that asks for it and ends
// with the process. The zero value is ready.
type Shared struct {
	once   sync.Once
	server *Server
}

// Server returns the node.
func (sh *Shared) Server(tb testing.TB) *Server {
	tb.Helper()
	sh.once.Do(func() {
		dir, err := os.MkdirTemp("", "vaulttest")
		if err != nil {
			tb.Fatalf("creating a directory for Vault: %v", err)
		}
		s := newServer(tb, dir, true)
		s.initialize(tb)
		sh.server = s
	})
	if sh.server == nil {
		tb.Fatal("the shared Vault server did not start; see the first test that needed it")
	}
	return sh.server
}

// newServer starts a node that is neither initialised nor unsealed.
func newServer(tb testing.TB, dir string, remove bool) *Server {
	tb.Helper()
	authority := NewAuthority(tb, dir)
	s := &Server{
		CAFile:    authority.File,
		AuditLog:  filepath.Join(dir, "audit.log"),
		authority: authority,
		dir:       dir,
		// No Proxy: the environment must not come between.
		client: &http.Client{Transport: &http.Transport{}, Timeout: 15 * time.Second},
	}
	if remove {
		s.remove = dir
	}
	authority.IssueServer(tb, filepath.Join(dir, serverCert), filepath.Join(dir, serverKey))
	for attempt := 0; ; attempt++ {
		s.takePorts(tb)
		if s.start(tb) {
			return s
		}
		// Somebody else was faster to take one of the ports.
		if attempt == 4 {
			tb.Fatalf("Vault does not start: %s", testserver.Tail(s.logFile()))
		}
	}
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "vault.log") }

// takePorts chooses free ports. They are kept over a restart.
func (s *Server) takePorts(tb testing.TB) {
	for i := range s.ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatalf("finding a free port: %v", err)
		}
		defer l.Close()
		s.ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	s.Address = fmt.Sprintf("http://127.0.0.1:%d", s.ports[0])
	s.TLSAddress = fmt.Sprintf("https://localhost:%d", s.ports[2])
}

// writeConfig writes the configuration, in the form that Vault documents at
// https://developer.hashicorp.com/vault/docs/configuration.
func (s *Server) writeConfig(tb testing.TB) string {
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		tb.Fatalf("creating Vault's data directory: %v", err)
	}
	local := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", s.ports[i]) }
	config, err := json.Marshal(object{
		"storage": object{"raft": object{
			"path": data, "node_id": local(1),
			// Elections take one second instead of five, and a new
			// node is made a voter without a long wait.
			"performance_multiplier":       "1",
			"autopilot_reconcile_interval": "300ms",
			"autopilot_update_interval":    "100ms",
		}},
		"listener": []object{
			{"tcp": object{"address": local(0), "cluster_address": local(1), "tls_disable": true}},
			{"tcp": object{
				"address": local(2), "cluster_address": local(3),
				"tls_cert_file": filepath.Join(s.dir, serverCert), "tls_key_file": filepath.Join(s.dir, serverKey),
			}},
		},
		"api_addr":      s.Address,
		"cluster_addr":  "https://" + local(1),
		"disable_mlock": true,
		"log_level":     "warn",
	})
	if err != nil {
		tb.Fatalf("encoding Vault's configuration: %v", err)
	}
	path := filepath.Join(s.dir, "config.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		tb.Fatalf("writing Vault's configuration: %v", err)
	}
	return path
}

// start starts the process and waits until it answers. It reports false if a
// port was taken.
func (s *Server) start(tb testing.TB) bool {
	tb.Helper()
	binary, err := Binary()
	if err != nil {
		tb.Fatal(err)
	}
	s.process, err = testserver.Start(s.logFile(), s.remove, binary, "server", "-config="+s.writeConfig(tb))
	if err != nil {
		tb.Fatal(err)
	}
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if s.process.HasEnded() {
			if strings.Contains(testserver.Tail(s.logFile()), "address already in use") {
				return false
			}
			tb.Fatalf("Vault ended at its start: %s", testserver.Tail(s.logFile()))
		}
		if health(s.client, s.Address) != 0 {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.process.Kill()
	tb.Fatalf("Vault does not answer: %s", testserver.Tail(s.logFile()))
	return false
}

// health returns the status of sys/health, 0 if there is no answer: 200 is an
// active node, 429 a standby, 503 a sealed one.
func health(client *http.Client, address string) int {
	resp, err := client.Get(address + "/v1/sys/health")
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// waitFor waits until is holds.
func (s *Server) waitFor(tb testing.TB, state string, is func() bool) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for !is() {
		if time.Now().After(deadline) {
			tb.Fatalf("Vault does not become %s; its health is %d: %s", state, health(s.client, s.Address), testserver.Tail(s.logFile()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}
