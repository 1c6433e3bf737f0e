package chaos_test

import "syscall"

// processAttributes put a process into a group of its own, and end it with
// the test however that ends.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
