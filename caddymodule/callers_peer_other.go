//go:build !linux

package caddymodule

import (
	"errors"
	"net"
)

// knowsPeers is whether this system tells who is at the other end of a unix
// socket.
const knowsPeers = false

// peerCredentials is for Linux.
func peerCredentials(*net.UnixConn) (peer, error) { return peer{}, errors.ErrUnsupported }
