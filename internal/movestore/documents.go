package movestore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// WithDocuments is a [Store] of which both sides keep documents: those that the
// new one lacks are read in the old one.
type WithDocuments struct {
	*Store
	to, from connection.DocumentStore

	mu sync.Mutex
	// names are the documents that this process has asked for.
	names map[string]bool
}

// LoadDocument implements [connection.DocumentStore].
func (d *WithDocuments) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	d.note(name)
	text, version, err := d.to.LoadDocument(ctx, name)
	if !errors.Is(err, connection.ErrNotFound) {
		return text, version, err
	}
	text, _, err = d.from.LoadDocument(ctx, name)
	return text, 0, err
}

// SaveDocument implements [connection.DocumentStore]. The old store gets the
// text as well, so that sidecars which know it alone obey: as far as it takes
// it, for it is the new one that counts.
func (d *WithDocuments) SaveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	d.note(name)
	version, err := d.to.SaveDocument(ctx, name, text, based)
	if err != nil {
		return 0, err
	}
	_, old, err := d.from.LoadDocument(ctx, name)
	if err == nil || errors.Is(err, connection.ErrNotFound) {
		_, _ = d.from.SaveDocument(ctx, name, text, old)
	}
	return version, nil
}

func (d *WithDocuments) note(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names == nil {
		d.names = make(map[string]bool)
	}
	d.names[name] = true
}

// MoveDocuments moves the documents that this process works with, and returns
// how many that were.
func (d *WithDocuments) MoveDocuments(ctx context.Context) (int, error) {
	d.mu.Lock()
	names := make([]string, 0, len(d.names))
	for name := range d.names {
		names = append(names, name)
	}
	d.mu.Unlock()
	moved := 0
	for _, name := range names {
		_, _, err := d.to.LoadDocument(ctx, name)
		if err == nil {
			continue
		}
		if !errors.Is(err, connection.ErrNotFound) {
			return moved, fmt.Errorf("looking for document %s: %w", name, err)
		}
		text, _, err := d.from.LoadDocument(ctx, name)
		if errors.Is(err, connection.ErrNotFound) {
			continue
		}
		if err == nil {
			_, err = d.to.SaveDocument(ctx, name, text, 0)
		}
		if err != nil && !errors.Is(err, connection.ErrConflict) {
			return moved, fmt.Errorf("moving document %s: %w", name, err)
		}
		moved++
	}
	return moved, nil
}

// Interface guard
var _ connection.DocumentStore = (*WithDocuments)(nil)
