package connection

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// errClaimed tells the loop of fly that another process is refreshing.
var errClaimed = errors.New("connection is being refreshed by another process")

// claimWatch is how long this process has seen one and the same claim. Only
// its own monotonic clock counts: no times are compared across machines.
type claimWatch struct {
	version uint64
	claimID string
	since   time.Time
	polls   int
}

// lapsed reports whether the claim in v was seen unchanged for lease.
func (w *claimWatch) lapsed(v *view, lease time.Duration) bool {
	if w.version != v.Version || w.claimID != v.Claim.ID {
		*w = claimWatch{version: v.Version, claimID: v.Claim.ID, since: time.Now()}
	}
	return time.Since(w.since) >= lease
}

// poll returns how long to wait before looking again: 100 ms at first, since
// most refreshes are done by then, up to half a second.
func (w *claimWatch) poll(random func(time.Duration) time.Duration) time.Duration {
	w.polls++
	step := min(time.Duration(w.polls)*50*time.Millisecond, 250*time.Millisecond)
	return 50*time.Millisecond + step + random(step)
}

// minLease keeps claims from lapsing at once where a token has next to no life.
const minLease = 100 * time.Millisecond

// lease is L of the claim protocol for one record: shorter where access
// tokens live so short that a dead claim would outlast them.
func (m *Manager) lease(r Record) time.Duration {
	life := r.ExpiresAt.Sub(r.IssuedAt)
	if life <= 0 {
		return m.config.Lease
	}
	return max(min(m.config.Lease, life/3), minLease)
}

// claim writes a claim on top of v. It proves that the store takes writes
// before HubSpot is asked, and keeps other processes off.
func (m *Manager) claim(v *view) (Versioned, error) {
	r := v.Record
	r.Claim = &Claim{ID: rand.Text(), Owner: m.config.Owner, For: fingerprint(r.RefreshToken)}
	return m.put(m.ctx, r, v.Version)
}

// release takes the claim back after a refresh that gave no token, also if
// somebody has written something else in the meantime. If that fails, the
// claim runs out by itself.
func (m *Manager) release(e *entry, claimed Versioned) {
	held := claimed
	for range 2 {
		r := held.Record
		r.Claim = nil
		saved, err := m.put(m.ctx, r, held.Version)
		if err == nil {
			m.adopt(e, saved)
		}
		if !errors.Is(err, ErrConflict) {
			return
		}
		held, err = m.config.Store.Load(m.ctx, r.Key)
		if err != nil || held.Claim == nil || held.Claim.ID != claimed.Claim.ID {
			return
		}
	}
}

// put saves r over version based. It returns ErrConflict only if another
// writer was first: a save whose answer was lost is found by its WriteID.
func (m *Manager) put(ctx context.Context, r Record, based uint64) (Versioned, error) {
	r.WriteID, r.UpdatedAt = rand.Text(), time.Now()
	version, err := m.config.Store.Save(ctx, r, based)
	if err == nil {
		return Versioned{Record: r, Version: version}, nil
	}
	stored, loadErr := m.config.Store.Load(ctx, r.Key)
	switch {
	case loadErr == nil && stored.WriteID == r.WriteID:
		return stored, nil
	case loadErr == nil && stored.Version != based:
		return Versioned{}, ErrConflict
	}
	return Versioned{}, err
}

// fingerprint tells refresh tokens apart without showing them.
func fingerprint(token secret.Text) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:8])
}
