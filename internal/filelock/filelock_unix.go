//go:build unix && !solaris && !aix

package filelock

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Lock takes the exclusive lock of a file, which is made if it is missing and is
// for nothing else. It waits some seconds, and then returns ErrLocked. The lock
// ends with the process. Other errors are those of [os.OpenFile].
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for waited := time.Duration(0); ; waited += pause {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK) && waited < patience:
			time.Sleep(pause)
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			err = ErrLocked
		}
		_ = f.Close()
		return nil, err
	}
}
