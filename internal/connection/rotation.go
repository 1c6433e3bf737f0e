package connection

import (
	"context"
	"errors"
	"slices"
)

// holdsAnew has the ledger know a grant by its new refresh token, after HubSpot
// has given another one. The marks of earlier ones stay in the record for as
// long as others hold them: who shares the grant with this connection is found
// by them. It runs behind the refresh and is begun again by whoever finds a
// record that lacks it.
func (m *Manager) holdsAnew(stored Versioned) {
	if !stored.Rotates || stored.RefreshToken.IsZero() || m.closing.Load() {
		return
	}
	if mark, err := m.grantMark(m.ctx, stored.RefreshToken); err != nil || slices.Contains(stored.Grants, mark) {
		return
	}
	m.marking.DoChan(stored.User, func() (any, error) {
		defer m.work.add()()
		return nil, m.markAnew(m.ctx, stored.User)
	})
}

// markAnew writes the marks of a connection down, in the ledger and then in its
// record.
func (m *Manager) markAnew(ctx context.Context, user string) error {
	for {
		stored, err := m.config.Store.Load(ctx, m.key(user))
		if err != nil {
			return err
		}
		if stored.Status != StatusActive && stored.Status != StatusReauthRequired || stored.RefreshToken.IsZero() {
			return nil
		}
		mark, err := m.grantMark(ctx, stored.RefreshToken)
		if err != nil || slices.Contains(stored.Grants, mark) {
			return err
		}
		if _, err := m.hold(ctx, mark, stored.Record); err != nil {
			return err
		}
		next := stored.Record
		next.Grants, err = m.heldByOthers(ctx, stored.Record)
		if err != nil {
			return err
		}
		next.Grants = append(next.Grants, mark)
		saved, err := m.put(ctx, next, stored.Version)
		if err == nil {
			if e := m.cache.get(user); e != nil {
				m.adopt(e, saved)
			}
			return nil
		}
		if !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
}

// heldByOthers lets the earlier marks of a connection go that nobody else
// holds, and returns the others.
func (m *Manager) heldByOthers(ctx context.Context, r Record) ([]string, error) {
	var kept []string
	for _, mark := range r.Grants {
		others := false
		err := m.changeSubject(ctx, mark, func(s *subject) (bool, error) {
			_, held := s.Holders[r.Generation]
			delete(s.Holders, r.Generation)
			if others = len(s.Holders) > 0; others {
				s.Holders[r.Generation] = holder{User: r.User}
				return !held, nil
			}
			return held, nil
		})
		if err != nil {
			return nil, err
		}
		if others {
			kept = append(kept, mark)
		}
	}
	return kept, nil
}
