package main

import "syscall"

// childAttributes has a child stop when the bench dies, however that comes
// about. The signal comes from the death of the thread that started the
// child, so children are started on the main goroutine, which init locks to
// the main thread. A group of its own keeps a terminal's Ctrl-C away from the
// child: the bench stops it itself.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
