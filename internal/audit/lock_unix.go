//go:build unix && !solaris && !aix

package audit

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// How long a lock is waited for: a process or config that is about to end may
// still write its last lines.
const (
	lockPatience = 5 * time.Second
	lockPause    = 50 * time.Millisecond
)

// lock takes the exclusive lock of a file beside the log: the log's own file
// is another one after it was rolled. The lock ends with the process.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, withoutPath(err)
	}
	for waited := time.Duration(0); ; waited += lockPause {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK) && waited < lockPatience:
			time.Sleep(lockPause)
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			err = errLocked
		}
		_ = f.Close()
		return nil, err
	}
}
