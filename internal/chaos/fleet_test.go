package chaos_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds waits for a process, on a busy machine.
const patience = 90 * time.Second

const callerKey = "key-of-the-caller-in-the-chaos-test"

// buildCaddy builds ./cmd/caddy for this run.
func buildCaddy(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "caddy")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/caddy-hubspot/caddy-hubspot/cmd/caddy")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building caddy: %v\n%s", err, out)
	}
	return binary
}

// sidecar is one caddy process, started again whenever it ends. Its methods
// are for the script; clients use transport only.
type sidecar struct {
	number    int
	ledger    *ledger
	nursery   *nursery
	binary    string
	dir       string
	env       []string
	config    []byte
	transport *http.Transport
	admin     *http.Client
	cmd       *exec.Cmd
	ended     chan struct{}
	exit      error // of the last process, once ended is closed
}

// newFleet starts the sidecars. They listen on unix sockets, so that no port
// can be taken by somebody else between a stop and a start.
func newFleet(t *testing.T, l *ledger, h *hubspot, v *vaultTap, n int) []*sidecar {
	t.Helper()
	binary := buildCaddy(t)
	processes := newNursery()
	t.Cleanup(processes.close)
	fleet := make([]*sidecar, n)
	for i := range fleet {
		dir, err := shortDir()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		s := &sidecar{number: i, ledger: l, nursery: processes, binary: binary, dir: dir}
		s.configure(t, h, v)
		s.transport = unixTransport(s.path("site.sock"))
		s.admin = &http.Client{Transport: unixTransport(s.path("admin.sock")), Timeout: patience}
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.kill() })
		fleet[i] = s
	}
	for _, s := range fleet {
		if err := s.waitLive(); err != nil {
			t.Fatal(err)
		}
	}
	return fleet
}

// shortDir makes a directory with a path that is short enough for a unix
// socket in it.
func shortDir() (string, error) { return os.MkdirTemp("", "chaos") }

func unixTransport(path string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 64,
	}
}

func (s *sidecar) path(name string) string { return filepath.Join(s.dir, name) }

// start starts the process and does not wait until it serves.
func (s *sidecar) start() error {
	log, err := os.OpenFile(s.path("caddy.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(s.binary, "run", "--config", s.path("Caddyfile"), "--adapter", "caddyfile")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, log, log
	cmd.SysProcAttr = processAttributes()
	if err := s.nursery.start(cmd); err != nil {
		return fmt.Errorf("starting caddy: %w", err)
	}
	ended := make(chan struct{})
	s.cmd, s.ended = cmd, ended
	go func() {
		s.exit = cmd.Wait()
		close(ended)
	}()
	return nil
}

// waitLive waits until the process serves, on both of its sockets: that of the
// admin API comes first.
func (s *sidecar) waitLive() error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		resp, err := s.admin.Get("http://localhost/hubspot/live")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK && s.accepts() {
				return nil
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("caddy ended at its start: %w\n%s", s.exit, s.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("caddy does not answer\n%s", s.tail())
}

// accepts reports whether somebody listens on the site's socket.
func (s *sidecar) accepts() bool {
	c, err := net.Dial("unix", s.path("site.sock"))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func (s *sidecar) tail() string {
	content, err := os.ReadFile(s.path("caddy.log"))
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-4000):])
}

// complaints are the last lines of the log above the level info.
func (s *sidecar) complaints() string {
	content, err := os.ReadFile(s.path("caddy.log"))
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for line := range strings.Lines(string(content)) {
		if !strings.Contains(line, `"level":"info"`) {
			text.WriteString(line)
		}
	}
	return text.String()[max(0, text.Len()-4000):]
}

// kill ends the process as a crash would, and all that it may have started.
func (s *sidecar) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.ended
}

func (s *sidecar) signal(sig syscall.Signal) { _ = syscall.Kill(s.cmd.Process.Pid, sig) }

// killAndRestart is a crash; the process is away for a while.
func (s *sidecar) killAndRestart(away time.Duration) error {
	f := s.ledger.begin(killed, "", s.number)
	defer s.ledger.finish(f)
	s.kill()
	s.ledger.forget(s.number)
	time.Sleep(away)
	if err := s.start(); err != nil {
		return err
	}
	return s.waitLive()
}

// pause is a process that gets no time for a while.
func (s *sidecar) pause(d time.Duration) {
	f := s.ledger.begin(paused, d.Round(time.Millisecond).String(), s.number)
	defer s.ledger.finish(f)
	s.signal(syscall.SIGSTOP)
	time.Sleep(d)
	s.signal(syscall.SIGCONT)
}

// restart is a stop as an operator does it, and a start.
func (s *sidecar) restart() error {
	f := s.ledger.begin(restarted, "", s.number)
	defer s.ledger.finish(f)
	s.signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		return fmt.Errorf("caddy does not end\n%s", s.tail())
	}
	if s.exit != nil {
		return fmt.Errorf("caddy ended with %w after SIGTERM\n%s", s.exit, s.tail())
	}
	s.ledger.forget(s.number)
	if err := s.start(); err != nil {
		return err
	}
	return s.waitLive()
}

// reload loads the same config once more, which Caddy otherwise would not.
func (s *sidecar) reload() error {
	f := s.ledger.begin(reloaded, "", s.number)
	defer s.ledger.finish(f)
	req, err := http.NewRequest(http.MethodPost, "http://localhost/load", strings.NewReader(string(s.config)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	resp, err := s.admin.Do(req)
	if err != nil {
		return fmt.Errorf("reloading: %w\n%s", err, s.tail())
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reloading: %s\n%s", resp.Status, s.tail())
	}
	return nil
}
