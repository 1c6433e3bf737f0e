package peercred

import (
	"net"

	"golang.org/x/sys/unix"
)

// Known is whether this system tells who is at the other end of a unix
// socket.
const Known = true

// Of asks the kernel who has connected (SO_PEERCRED of unix(7)).
// Users that this process's namespace does not have are shown as the overflow
// user, 65534.
func Of(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Peer{}, err
	}
	if credErr != nil {
		return Peer{}, credErr
	}
	return Peer{UID: cred.Uid, GID: cred.Gid}, nil
}
