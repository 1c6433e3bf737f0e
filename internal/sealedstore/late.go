package sealedstore

import (
	"errors"
	"fmt"
	"sync"
)

// Static is the key of a store for those who have it already; see [New].
func Static(key Key) func() (Key, error) {
	return func() (Key, error) { return key, nil }
}

// lateSealer has a sealer from when it is first asked for one: reading the key,
// or making one and a file for it, is for the first use of a store and not for
// the check of a config.
type lateSealer struct {
	key func() (Key, error)

	mu   sync.Mutex // held while key runs, so that two do not make a key each
	made *sealer
}

// get returns an error that wraps [connection.ErrUnavailable] until there is a
// key; the next call tries again.
func (l *lateSealer) get() (*sealer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		return l.made, nil
	}
	key, err := l.key()
	if err == nil && key.IsZero() {
		err = errors.New("there is no encryption key")
	}
	if err != nil {
		return nil, unavailable(fmt.Errorf("reading the store's key: %w", err))
	}
	made, err := newSealer(key)
	if err != nil {
		return nil, unavailable(err)
	}
	l.made = made
	return made, nil
}
