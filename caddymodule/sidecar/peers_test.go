package sidecar

import (
	"net"
	"testing"
)

// A TCP connection has no peer, and nor has what only looks like Caddy's.
func TestUnixConn(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	type wrapper struct{ net.Conn }
	for name, c := range map[string]net.Conn{"pipe": server, "TCP": new(net.TCPConn), "none": nil, "stranger's wrapper": wrapper{new(net.UnixConn)}} {
		if got := unixConn(c); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	inner := new(net.UnixConn)
	if got := unixConn(inner); got != inner {
		t.Errorf("a unix connection: %v", got)
	}
}
