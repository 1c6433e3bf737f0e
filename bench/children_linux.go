package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// childAttributes has a child stop when the bench dies, however that comes
// about. The signal comes from the death of the thread that started the
// child, so children are started on the main goroutine, which init locks to
// the main thread. A group of its own keeps a terminal's Ctrl-C away from the
// child: the bench stops it itself.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// setPriority sets the nice value of this thread, which children inherit, and
// that of the session among other sessions, where the kernel schedules by
// session (sched(7), "The autogroup feature").
func setPriority(nice int) error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice); err != nil {
		return fmt.Errorf("setting the priority: %w", err)
	}
	err := os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(nice)), 0) //nolint:gosec // not a file of a user
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("setting the priority of the session: %w", err)
	}
	return nil
}
