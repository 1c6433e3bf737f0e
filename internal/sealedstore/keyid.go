package sealedstore

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// With another key every record has another name. So that a store with the
// wrong key does not say of all users that they are not connected, and two
// servers with a key each do not share a storage unawares, the first write
// notes in the storage which key it belongs to.

// CheckKey reports whether what the storage holds can be opened: an error wraps
// [connection.ErrCorrupt] if it belongs to another key, and
// [connection.ErrUnavailable] if that cannot be told. A storage that belongs to
// none holds nothing.
func (s *Store) CheckKey(ctx context.Context) error {
	if err := s.checkKey(ctx); err != nil {
		return fmt.Errorf("checking the store's key: %w", err)
	}
	return nil
}

// checkKey refuses a storage that belongs to another key. One that belongs to
// none holds nothing.
func (s *Store) checkKey(ctx context.Context) error {
	sealer, err := s.sealer.get()
	if err != nil {
		return err
	}
	if err := s.readKeyID(ctx, sealer.keyID); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// claimKey is checkKey for writers: it makes a storage that belongs to no key
// ours.
func (s *Store) claimKey(ctx context.Context) error {
	sealer, err := s.sealer.get()
	if err != nil {
		return err
	}
	if err := s.readKeyID(ctx, sealer.keyID); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.locked(ctx, keyIDLock, func() error {
		if err := s.readKeyID(ctx, sealer.keyID); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.storeFile(ctx, keyIDName, []byte(sealer.keyID)); err != nil {
			return err
		}
		return s.readKeyID(ctx, sealer.keyID)
	})
}

// readKeyID returns nil if the storage belongs to our key, whose id is ours.
// Other errors wrap fs.ErrNotExist, ErrCorrupt or ErrUnavailable.
func (s *Store) readKeyID(ctx context.Context, ours string) error {
	if s.sameKey.Load() {
		return nil
	}
	stored, err := s.loadFile(ctx, keyIDName)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(stored, []byte(ours)) != 1 {
		return fmt.Errorf("%w: the connections in this storage were sealed with another key: set encryption_key to that one, "+
			"the same on all servers that share the storage; to start anew without them, delete %s, %s and %s",
			connection.ErrCorrupt, keyIDName, recordsPrefix, documentsPrefix)
	}
	s.sameKey.Store(true)
	return nil
}
