// Package filelock keeps other processes away from a file.
package filelock

import (
	"errors"
	"time"
)

// How long a lock is waited for: a process or config that is about to end may
// still write its last.
const (
	patience = 5 * time.Second
	pause    = 50 * time.Millisecond
)

// ErrLocked means that somebody else has the lock.
var ErrLocked = errors.New("it is locked")
