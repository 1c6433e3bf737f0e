package connection

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// stateName is the sheet that says what the ledger knows.
	stateName = "state"
	// indexPage is how many records a walk through all of them reads at once.
	indexPage = 200
	// indexPatience is how long a disconnect waits for the ledger to be made:
	// after that it is pending, and found on the board.
	indexPatience = 5 * time.Second
)

// errNotIndexed means that it is not known yet who else stands on a grant.
var errNotIndexed = errors.New("the ledger of who holds which grant is being made")

// ledgerState is the content of the sheet.
type ledgerState struct {
	// Indexed says that all connections are in the ledger that were there
	// before it was.
	Indexed bool `json:"indexed"`
}

// index knows whether the ledger is complete.
type index struct {
	done   atomic.Bool
	flight singleflight.Group
}

// indexed returns nil as soon as the ledger has all connections. Those from
// before there was a ledger are put into it once, by whoever needs it first.
func (m *Manager) indexed(ctx context.Context) error {
	if m.index.done.Load() {
		return nil
	}
	made := m.index.flight.DoChan("", func() (any, error) {
		defer m.work.add()()
		return nil, m.makeIndex(m.ctx)
	})
	timer := time.NewTimer(indexPatience)
	defer timer.Stop()
	select {
	case result := <-made:
		return result.Err
	case <-timer.C:
	case <-ctx.Done():
	}
	return errNotIndexed
}

// makeIndex puts all connections into the ledger, unless that was done. What
// changes meanwhile is put there by who changes it, and what is put there too
// late is found to be no holder by its record: two processes may do it at once.
func (m *Manager) makeIndex(ctx context.Context) error {
	var state ledgerState
	if _, err := m.loadSheet(ctx, stateName, &state); err != nil {
		return err
	}
	if !state.Indexed {
		found, err := m.allHolders(ctx)
		if err != nil {
			return fmt.Errorf("looking for who holds which grant: %w", err)
		}
		if err := m.addHolders(ctx, found); err != nil {
			return fmt.Errorf("writing down who holds which grant: %w", err)
		}
		err = changeSheet(ctx, m, stateName, func() *ledgerState { return new(ledgerState) }, func(s *ledgerState) (bool, error) {
			changed := !s.Indexed
			s.Indexed = true
			return changed, nil
		})
		if err != nil {
			return err
		}
	}
	m.index.done.Store(true)
	return nil
}

// heldMark is one connection's hold on one subject.
type heldMark struct {
	mark, generation, user string
}

// allHolders walks through all records. The result is by sheet.
func (m *Manager) allHolders(ctx context.Context) (map[string][]heldMark, error) {
	found := make(map[string][]heldMark)
	for cursor := ""; ; {
		page, err := m.config.Store.List(ctx, m.config.App, cursor, indexPage)
		if err != nil {
			return nil, err
		}
		for _, stored := range page.Records {
			if stored.Status != StatusActive && stored.Status != StatusReauthRequired {
				continue
			}
			marks, err := m.marksOf(ctx, stored.Record)
			if err != nil {
				return nil, err
			}
			for _, mark := range marks {
				sheet := mark[:shardDigits]
				found[sheet] = append(found[sheet], heldMark{mark, stored.Generation, stored.User})
			}
		}
		if cursor = page.Next; cursor == "" {
			return found, nil
		}
	}
}

// addHolders adds what is missing to the sheets of the ledger.
func (m *Manager) addHolders(ctx context.Context, found map[string][]heldMark) error {
	for _, name := range slices.Sorted(maps.Keys(found)) {
		err := changeSheet(ctx, m, name, newHolderSheet, func(sheet *holderSheet) (bool, error) {
			changed := false
			for _, h := range found[name] {
				of := sheet.of(h.mark)
				if _, known := of.Holders[h.generation]; !known {
					changed = of.add(h.generation, holder{User: h.user}) || changed
				}
			}
			return changed, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
