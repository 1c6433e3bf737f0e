package sealedstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// DefaultMaxAge is how old a copy in a [Fallback] may be if nothing else is said.
const DefaultMaxAge = 24 * time.Hour

// clockSkew is how far in the future a copy may be from, for clocks that were
// set back a little.
const clockSkew = time.Minute

// Fallback keeps sealed copies of connections in a folder, so that a process
// which starts while the connection store is down knows the connections it
// knew last. It implements [connection.Fallback] and is safe for concurrent
// use, by one process.
//
// A copy is a file of its own: the time of the copy, in clear but
// authenticated, and the sealed record. Whoever can write to the folder can
// put back an older copy, within the maximum age.
type Fallback struct {
	dir    string
	sealer *sealer
	maxAge time.Duration
}

var _ connection.Fallback = (*Fallback)(nil)

// NewFallback makes a Fallback in dir, which is made, for the owner alone,
// with the first copy. Copies older than maxAge are not used; zero means
// [DefaultMaxAge].
func NewFallback(dir string, key Key, maxAge time.Duration) (*Fallback, error) {
	switch {
	case dir == "":
		return nil, errors.New("making fallback cache: there is no folder")
	case key.IsZero():
		return nil, errors.New("making fallback cache: there is no key")
	case maxAge < 0:
		return nil, errors.New("making fallback cache: the maximum age is negative")
	case maxAge == 0:
		maxAge = DefaultMaxAge
	}
	sealer, err := newSealer(key)
	if err != nil {
		return nil, fmt.Errorf("making fallback cache: %w", err)
	}
	return &Fallback{dir: dir, sealer: sealer, maxAge: maxAge}, nil
}

// Keep replaces the copy of a connection.
func (f *Fallback) Keep(v connection.Versioned) error {
	path, err := f.path(v.Key)
	if err != nil {
		return err
	}
	return f.keep(path, v.Encode(), v.Version)
}

func (f *Fallback) keep(path string, fields map[string]string, version uint64) error {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	box, err := f.sealer.seal(fallbackName(path, stamp), fields, version)
	if err != nil {
		return fmt.Errorf("keeping a copy: %w", err)
	}
	if err := writeFile(path, append(stamp, box...), os.Rename); err != nil {
		return fmt.Errorf("keeping a copy: %w", err)
	}
	return nil
}

// Recall returns the copy of a connection, and when it was made. A copy that
// is too old is as good as none, which is [connection.ErrNotFound].
func (f *Fallback) Recall(key connection.Key) (connection.Versioned, time.Time, error) {
	path, err := f.path(key)
	if err != nil {
		return connection.Versioned{}, time.Time{}, err
	}
	doc, kept, err := f.recall(path)
	if err != nil {
		return connection.Versioned{}, time.Time{}, err
	}
	r, err := connection.Decode(doc.Fields)
	if err != nil {
		return connection.Versioned{}, time.Time{}, fmt.Errorf("recalling a copy: %w", err)
	}
	if age := time.Since(kept); age > f.maxAge || age < -clockSkew {
		return connection.Versioned{}, time.Time{}, connection.ErrNotFound
	}
	return connection.Versioned{Record: r, Version: doc.Version}, kept, nil
}

// recall opens a copy, however old.
func (f *Fallback) recall(path string) (document, time.Time, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return document{}, time.Time{}, connection.ErrNotFound
	case err != nil:
		return document{}, time.Time{}, fmt.Errorf("recalling a copy: %w", err)
	case len(data) < 8:
		return document{}, time.Time{}, fmt.Errorf("recalling a copy: %w", connection.ErrCorrupt)
	}
	stamp := data[:8]
	doc, err := f.sealer.open(fallbackName(path, stamp), data[8:])
	if err != nil {
		return document{}, time.Time{}, fmt.Errorf("recalling a copy: %w", err)
	}
	return doc, time.Unix(0, int64(binary.BigEndian.Uint64(stamp))), nil
}

// Forget removes the copy of a connection, if there is one.
func (f *Fallback) Forget(key connection.Key) error {
	path, err := f.path(key)
	if err != nil {
		return err
	}
	return forget(path)
}

func forget(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting a copy: %w", err)
	}
	return nil
}

func (f *Fallback) path(key connection.Key) (string, error) {
	if !appPattern.MatchString(key.App) {
		return "", errors.New("naming a copy: the app's name cannot be a folder's")
	}
	return filepath.Join(f.dir, key.App, f.sealer.id(key)), nil
}

// fallbackName is what a copy is sealed under: its place and its time, but
// not where the folder is.
func fallbackName(path string, stamp []byte) string {
	return fmt.Sprintf("fallback/%s/%s@%x", filepath.Base(filepath.Dir(path)), filepath.Base(path), stamp)
}
