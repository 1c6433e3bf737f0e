package sidecar_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// peerCallers are callers known by the test's own user and by others.
func peerCallers() string {
	return fmt.Sprintf(`
		caller self {
			uid 4711 %[1]d
			gid %[2]d
			deny DELETE *
		}
		caller stranger {
			uid 4242
			deny DELETE *
		}
		caller group {
			gid 4242
			deny DELETE *
		}`, os.Getuid(), os.Getgid())
}

// socketClient makes requests over the harness's socket.
func socketClient(h *caddytest.Harness, protocols func(*http.Protocols)) func(method, path string, header ...string) caddytest.Answer {
	transport := &http.Transport{
		DisableKeepAlives: true, Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.Socket())
		},
	}
	protocols(transport.Protocols)
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return func(method, path string, header ...string) caddytest.Answer {
		h.T.Helper()
		req, err := http.NewRequestWithContext(h.T.Context(), method, "http://localhost"+path, nil)
		if err != nil {
			h.T.Fatal(err)
		}
		req.Header.Set("X-HubSpot-User", "acme")
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return h.Read(client.Do(req))
	}
}

func overHTTP1(p *http.Protocols) { p.SetHTTP1(true) }

func overHTTP2(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }

// startPeers starts a Caddy on a unix socket, with more global options.
func startPeers(t *testing.T, options, callers, proxy string) *caddytest.Harness {
	t.Helper()
	upstream := caddytest.Upstream(t)
	text := strings.Replace(caddytest.Caddyfile(callers, "hubspot_auth\n"+proxy), "{\n", "{\n"+options+"\n", 1)
	h := caddytest.Start(t, caddytest.WithAPI(text, upstream), caddytest.WithSocket())
	h.ConnectAs("acme", caddytest.AccessToken)
	return h
}

func TestCallerByPeer(t *testing.T) {
	for name, tc := range map[string]struct {
		options string
		client  func(*http.Protocols)
	}{
		"HTTP/1":       {"", overHTTP1},
		"HTTP/2":       {"servers {\n protocols h1 h2c\n }", overHTTP2},
		"HTTP/1 alone": {"servers {\n protocols h1\n }", overHTTP1},
		"HTTP/2 alone": {"servers {\n protocols h2c\n }", overHTTP2},
	} {
		t.Run(name, func(t *testing.T) {
			h := startPeers(t, tc.options, peerCallers(), "hubspot_proxy hbdev")
			ask := socketClient(h, tc.client)
			wantRefusedAs(t, ask("DELETE", "/crm/x"), "self", "")
			if got := ask("GET", "/crm/x"); got.Text != `{"ok": true}` {
				t.Errorf("%s %s", got.Status, got.Text)
			}
			if got := ask("GET", "/hubspot/auth/hbdev?userForeignIdentifier=acme"); got.StatusCode != 200 {
				t.Errorf("install link: %s %s", got.Status, got.Text)
			}
			if got := ask("GET", "/crm/x", "Authorization", "Bearer "+caddytest.CallerKey); got.Text != `{"ok": true}` {
				t.Errorf("with a key: %s %s", got.Status, got.Text)
			}
			sidecartest.WantOwnError(t, ask("GET", "/crm/x", "Authorization", "Bearer wrong-key-0123456789012"), 401, "caller_unauthenticated")
		})
	}
}

// Who else may be there is for the tests of package admission.
func TestOtherPeers(t *testing.T) {
	h := startPeers(t, "", fmt.Sprintf("caller a {\n uid %d\n }", os.Getuid()+1), "hubspot_proxy hbdev")
	for _, path := range []string{"/crm/x", "/hubspot/connections/hbdev"} {
		e := sidecartest.WantOwnError(t, socketClient(h, overHTTP1)("GET", path), 401, "caller_unauthenticated")
		if !strings.Contains(e.Message, "are no caller's") {
			t.Errorf("%s: %s", path, e.Message)
		}
	}
}

// With open, who is known is known, and everybody else is let in.
func TestOpenWithPeers(t *testing.T) {
	h := startPeers(t, "", peerCallers(), "hubspot_proxy hbdev {\n open\n }")
	wantRefusedAs(t, socketClient(h, overHTTP1)("DELETE", "/crm/x"), "self", "")
	h = startPeers(t, "", fmt.Sprintf("caller a {\n uid %d\n deny DELETE *\n }", os.Getuid()+1), "hubspot_proxy hbdev {\n open\n }")
	if got := socketClient(h, overHTTP1)("DELETE", "/crm/x"); got.Text != `{"ok": true}` {
		t.Errorf("a user who is no caller: %s %s", got.Status, got.Text)
	}
}

// The kernel says who connected, not the request.
func TestPeerOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	h := startPeers(t, "", peerCallers(), "hubspot_proxy hbdev")
	if err := os.Chmod(filepath.Dir(h.Socket()), 0o755); err != nil {
		t.Fatal(err)
	}
	for ids, want := range map[[2]int]string{{4242, 7}: "stranger", {7, 4242}: "group", {7, 7}: ""} {
		conn := dialAs(t, h.Socket(), ids[0], ids[1])
		fmt.Fprint(conn, "DELETE /as/acme/crm/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		text := make([]byte, 4096)
		n, err := conn.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		switch got := string(text[:n]); {
		case want == "" && !strings.HasPrefix(got, "HTTP/1.1 401 "):
			t.Errorf("%v: %s", ids, got)
		case want != "" && !strings.HasPrefix(got, "HTTP/1.1 403 "):
			t.Errorf("%v: %s, want it refused to %s", ids, got, want)
		}
		conn.Close()
	}
}

// dialAs connects as another user. The thread that becomes the user is thrown
// away.
func dialAs(t *testing.T, socket string, uid, gid int) net.Conn {
	t.Helper()
	type result struct {
		fd  int
		err error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock it
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		const same = ^uintptr(0)
		if _, _, no := unix.RawSyscall(unix.SYS_SETRESGID, same, uintptr(gid), same); no != 0 {
			err = no
		}
		if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same); no != 0 {
			err = no
		}
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		}
		results <- result{fd, err}
	}()
	got := <-results
	if got.err != nil {
		t.Fatal(got.err)
	}
	file := os.NewFile(uintptr(got.fd), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
