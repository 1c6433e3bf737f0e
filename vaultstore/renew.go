package vaultstore

import (
	"context"
	"time"

	"github.com/hashicorp/vault/api"
)

// adopt makes l the current lease and plans what comes after it. The caller
// holds mu.
func (s *session) adopt(l lease, started time.Time) {
	s.lease, s.started, s.next = l, started, time.Time{}
	after := l.recheck
	if after == 0 {
		after = l.ttl * 2 / 3
	}
	if after > 0 {
		s.next = started.Add(jitter(max(after, shortestRenewal), 0.1))
	}
}

// renew extends the lease, or logs in where that cannot be done.
func (s *session) renew(ctx context.Context) error {
	s.mu.Lock()
	now, granted := s.lease, s.granted
	may := now.renewable
	if may {
		_, may = s.take(1)
	}
	s.mu.Unlock()
	if !may {
		return s.login(ctx)
	}
	started := time.Now()
	renewed, err := ask(ctx, s.client, func() (*api.Secret, error) {
		return s.client.as(now.token).Auth().Token().RenewSelfWithContext(ctx, 0)
	})
	if isTemporary(err) {
		return err
	}
	got, err := leaseOf(renewed)
	if err != nil || got.ttl == 0 {
		// A ttl of 0 is less than a second left, here.
		return s.login(ctx)
	}
	// Close to its maximum life a token is renewed for ever less.
	got.renewable = got.renewable && got.ttl >= granted/2
	got.token, got.uses = now.token, now.uses
	s.log.Debug("renewed the vault login", "ttl", got.ttl)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopt(got, started)
	return nil
}

// maintain renews the lease until the context ends.
func (s *session) maintain() {
	for {
		s.mu.Lock()
		next := s.next
		s.mu.Unlock()
		var due <-chan time.Time
		if !next.IsZero() {
			due = time.After(time.Until(next))
		}
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
			continue
		case <-due:
		}
		s.mu.Lock()
		// A flight of somebody else may have moved it.
		if s.next.After(time.Now()) {
			s.mu.Unlock()
			continue
		}
		flight := s.fly(s.renew)
		s.mu.Unlock()
		select {
		case <-flight:
		case <-s.ctx.Done():
			return
		}
	}
}
