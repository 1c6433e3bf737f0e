package admission

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

func TestPeers(t *testing.T) {
	t.Parallel()
	withLocal := func(r *http.Request, addr net.Addr) *http.Request {
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr))
	}
	for _, tc := range []struct {
		remote string
		local  net.Addr
		want   bool
	}{
		{"127.0.0.1:1", &net.TCPAddr{}, true},
		{"127.9.9.9:1", nil, true},
		{"[::1]:1", nil, true},
		{"[::ffff:127.0.0.1]:1", nil, true},
		{"@", &net.UnixAddr{Name: "/run/x.sock", Net: "unix"}, true},
		{"", &net.UnixAddr{Name: "/run/x.sock", Net: "unix"}, true},
		{"@", &net.TCPAddr{}, false},
		{"192.0.2.1:1", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, false},
		{"10.0.0.1:1", nil, false},
		{"[fe80::1%eth0]:1", nil, false},
		{"", nil, false},
		{"localhost:1", nil, false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = tc.remote
		if tc.local != nil {
			r = withLocal(r, tc.local)
		}
		if got := isLocalPeer(r); got != tc.want {
			t.Errorf("%q at %v: %v", tc.remote, tc.local, got)
		}
	}
}

func TestPeersOverUnixSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan bool, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- isLocalPeer(r) })}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if !<-seen {
		t.Error("a peer on a unix socket is not local")
	}
}

func TestOriginOfTLSSite(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "https://app.example.com/", nil)
	r.TLS = new(tls.ConnectionState)
	for origin, want := range map[string]bool{
		"https://app.example.com": true, "https://app.example.com:443": true, "https://APP.example.com": true,
		"http://app.example.com": false, "https://app.example.com:8443": false, "https://example.com": false, "app.example.com": false, "": false, "%": false,
	} {
		if got := isOriginOf(origin, r); got != want {
			t.Errorf("%s: %v", origin, got)
		}
	}
}
