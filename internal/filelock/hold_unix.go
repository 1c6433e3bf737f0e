//go:build unix && !solaris && !aix

package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Ends says that locks end with the process that has them.
const Ends = true

// Hold takes the exclusive lock of a file that is there only while somebody has
// it or waits for it, and waits for it until ctx ends. The lock ends with the
// process. Errors wrap ctx's, or are those of [os.OpenFile].
func Hold(ctx context.Context, path string) (release func(), err error) {
	for wait := time.Millisecond; ; wait = min(2*wait, pause) {
		release, err := try(path)
		if release != nil || err != nil {
			return release, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("waiting for the lock of %s: %w", path, ctx.Err())
		}
	}
}

// try returns neither a release nor an error if somebody else has the lock.
func try(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		return nil, f.Close()
	case err != nil:
		return nil, errors.Join(err, f.Close())
	case !stands(f, path):
		// Who had it has removed the file meanwhile, and others may have
		// the lock of the next one.
		return nil, f.Close()
	}
	return func() {
		_ = os.Remove(path)
		_ = f.Close()
	}, nil
}

// stands reports whether f is the file that path names.
func stands(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(mine, named)
}
