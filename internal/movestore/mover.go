package movestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// ErrSameStore means that both stores are one and the same place.
var ErrSameStore = errors.New("migrate_from and store are the same place: nothing can be moved")

// lease is how long another process's claim in the old store is respected; see
// [connection.Config].
const lease = 30 * time.Second

// workers are how many records are moved at once.
const workers = 8

// Mover moves what is left in the old store. It is safe for concurrent use.
type Mover struct {
	store *Store

	mu sync.Mutex
	// claims are those that were met in the old store, and since when.
	claims map[connection.Key]seenClaim
}

type seenClaim struct {
	id    string
	since time.Time
}

// NewMover returns the mover of a store that New has made, or nil for another
// store.
func NewMover(store connection.Store) *Mover {
	switch s := store.(type) {
	case *Store:
		return &Mover{store: s}
	case *WithDocuments:
		return &Mover{store: s.Store}
	}
	return nil
}

// Pass is what moving a page of the old store came to.
type Pass struct {
	// Moved were moved now, Left were looked at and had been before.
	Moved, Left int
	// Waiting are being refreshed by a sidecar with the old store alone, or
	// were changed just now: another pass moves them.
	Waiting int
	// Disconnected are users that such a sidecar has disconnected since they
	// were moved: they are to be disconnected here.
	Disconnected []string
	// Next is the cursor to go on with; empty at the end.
	Next string
}

// Move moves up to limit records of app from the one after cursor. Its errors
// are those of the stores, or ErrSameStore.
func (m *Mover) Move(ctx context.Context, app, cursor string, limit int) (Pass, error) {
	listed, err := m.store.from.List(ctx, app, cursor, limit)
	if err != nil {
		return Pass{}, fmt.Errorf("listing the old store: %w", err)
	}
	pass := Pass{Next: listed.Next}
	var (
		mu      sync.Mutex
		group   sync.WaitGroup
		failure error
	)
	queue := make(chan connection.Versioned)
	for range workers {
		group.Go(func() {
			for old := range queue {
				outcome, err := m.moveOne(ctx, old)
				mu.Lock()
				pass.add(outcome, old.User)
				failure = errors.Join(failure, err)
				mu.Unlock()
			}
		})
	}
	for _, old := range listed.Records {
		queue <- old
	}
	close(queue)
	group.Wait()
	return pass, failure
}

type outcome int

const (
	left outcome = iota
	moved
	waiting
	disconnectedThere
)

func (p *Pass) add(o outcome, user string) {
	switch o {
	case moved:
		p.Moved++
	case waiting:
		p.Waiting++
	case disconnectedThere:
		p.Disconnected = append(p.Disconnected, user)
	default:
		p.Left++
	}
}

// moveOne moves one record of the old store.
func (m *Mover) moveOne(ctx context.Context, old connection.Versioned) (outcome, error) {
	if isMarker(old.Record) {
		// Its history may hold what could not be erased when it was moved.
		return left, m.store.from.Erase(ctx, old.Key, old.Version)
	}
	stored, inNew, err := m.store.load(ctx, old.Key)
	switch {
	case errors.Is(err, connection.ErrNotFound):
		return left, nil // purged since it was listed
	case err != nil:
		return waiting, fmt.Errorf("moving connection: %w", err)
	case !inNew:
		return m.take(ctx, stored)
	case stored.WriteID == old.WriteID && stored.Version == old.Version:
		return left, ErrSameStore
	}
	return m.reconcile(ctx, old, stored)
}

// take moves a record that the new store lacks.
func (m *Mover) take(ctx context.Context, v connection.Versioned) (outcome, error) {
	if isMarker(v.Record) {
		return left, nil // moved to somewhere else, earlier
	}
	if m.claimed(v.Record) {
		return waiting, nil
	}
	r := v.Record
	r.WriteID, r.UpdatedAt = rand.Text(), time.Now()
	_, err := m.store.Save(ctx, r, v.Version)
	switch {
	case errors.Is(err, connection.ErrConflict):
		return waiting, nil
	case err != nil:
		return waiting, fmt.Errorf("moving connection: %w", err)
	}
	return moved, nil
}

// reconcile deals with a record of the old store that was written there after
// it had been moved: by a sidecar that knows the old store alone.
func (m *Mover) reconcile(ctx context.Context, old, stored connection.Versioned) (outcome, error) {
	live := stored.Status != connection.StatusDisconnected
	switch {
	case old.Status == connection.StatusDisconnected:
		if live && stored.ConnectedAt.Equal(old.ConnectedAt) {
			return disconnectedThere, nil
		}
		return left, nil
	case old.Generation != stored.Generation && old.ConnectedAt.After(stored.ConnectedAt),
		old.Generation == stored.Generation && live && old.IssuedAt.After(stored.IssuedAt):
		// The user has installed there, or what a refresh gave was late.
		m.store.done.remove(old.Key)
		return m.take(ctx, toMove(old, stored.Version))
	}
	if m.claimed(old.Record) {
		return waiting, nil
	}
	if err := m.store.release(ctx, old.Record, old.Version); err != nil && !errors.Is(err, connection.ErrConflict) {
		return waiting, fmt.Errorf("moving connection: %w", err)
	}
	return moved, nil
}

// claimed reports whether a process is refreshing r that may still end it: one
// that stood there for the lease, by this process's clock, is given up.
func (m *Mover) claimed(r connection.Record) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Claim == nil {
		delete(m.claims, r.Key)
		return false
	}
	seen, ok := m.claims[r.Key]
	if !ok || seen.id != r.Claim.ID {
		if m.claims == nil {
			m.claims = make(map[connection.Key]seenClaim)
		}
		m.claims[r.Key] = seenClaim{id: r.Claim.ID, since: time.Now()}
		return true
	}
	if time.Since(seen.since) < lease {
		return true
	}
	delete(m.claims, r.Key)
	return false
}
