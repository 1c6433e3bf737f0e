package sandbox

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// refusal says why a request is not answered; empty means that it is.
//
// The sandbox has no passwords: whoever reaches it can install apps and break
// things. So it answers programs on this machine only, and not the web pages
// that a browser on this machine happens to show: a page can make a browser
// send requests to loopback addresses, and with DNS rebinding even read the
// answers, but it cannot choose the Host header it does that with.
func refusal(r *http.Request) string {
	if isUnixPeer(r.RemoteAddr) {
		return ""
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return "This is a HubSpot sandbox for development. It answers only programs on the same machine (loopback addresses and unix sockets)."
	}
	if !isLoopbackHost(stripPort(r.Host)) {
		return "This is a HubSpot sandbox for development. It answers only to the host names localhost, *.localhost and loopback addresses; the Host header of this request is another."
	}
	return ""
}

// isUnixPeer reports whether net/http's RemoteAddr is that of a unix socket:
// "@" or empty for the usual unnamed peer, else a path or an abstract name.
func isUnixPeer(remote string) bool {
	return remote == "" || strings.HasPrefix(remote, "@") || strings.HasPrefix(remote, "/")
}

func isLoopbackHost(host string) bool {
	if isLocalhost(host) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func stripPort(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return strings.Trim(hostport, "[]")
	}
	return host
}
