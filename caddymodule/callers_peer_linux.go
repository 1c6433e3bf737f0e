package caddymodule

import (
	"net"

	"golang.org/x/sys/unix"
)

// knowsPeers is whether this system tells who is at the other end of a unix
// socket.
const knowsPeers = true

// peerCredentials asks the kernel who has connected (SO_PEERCRED of unix(7)).
// Users that this process's namespace does not have are shown as the overflow
// user, 65534.
func peerCredentials(conn *net.UnixConn) (peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peer{}, err
	}
	if credErr != nil {
		return peer{}, credErr
	}
	return peer{uid: cred.Uid, gid: cred.Gid}, nil
}
