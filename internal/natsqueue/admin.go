package natsqueue

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// List implements [webhookqueue.Queue].
func (q *Queue) List(ctx context.Context, dead bool, after string, limit int) (list []webhookqueue.Entry, err error) {
	err = q.call(ctx, "listing webhooks in NATS", func(ctx context.Context, s *session) error {
		if limit <= 0 {
			return nil
		}
		var found []*entry
		var err error
		if dead {
			found = s.listDead(after, limit)
		} else {
			found, err = s.listWaiting(ctx, after, limit)
		}
		for _, e := range found {
			list = append(list, e.shown())
		}
		return err
	})
	return list, err
}

func (s *session) listDead(after string, limit int) []*entry {
	dead := s.all(isDead)
	slices.SortFunc(dead, func(a, b *entry) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	if after != "" {
		i := slices.IndexFunc(dead, func(e *entry) bool { return e.ID == after })
		if i < 0 {
			return nil
		}
		dead = dead[i+1:]
	}
	return dead[:min(limit, len(dead))]
}

func (s *session) listWaiting(ctx context.Context, after string, limit int) (found []*entry, err error) {
	from := uint64(0)
	if after != "" {
		msg, err := s.stream.GetLastMsgForSubject(ctx, s.q.names.find(after))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		from = msg.Sequence + 1
	}
	err = s.readWaiting(ctx, from, func(e *entry) bool {
		found = append(found, e)
		return len(found) < limit
	})
	return found, err
}

// readWaiting calls found with the messages that wait, as their records say, until it
// returns false.
func (s *session) readWaiting(ctx context.Context, from uint64, found func(*entry) bool) error {
	return s.read(ctx, s.q.names.messages(), from, func(e *entry) bool {
		if r, ok := s.record(record(e.partition(), e.ID)); ok {
			e.state = r.entry.state
		}
		return ctx.Err() == nil && (e.state.Dead || found(e))
	}, nil)
}

// Retry implements [webhookqueue.Queue].
func (q *Queue) Retry(ctx context.Context, id string) error {
	return q.call(ctx, "trying dead letter again", func(ctx context.Context, s *session) error {
		for {
			key, r, ok := s.find(id)
			if !ok || !r.entry.state.Dead {
				return webhookqueue.ErrNotFound
			}
			if _, err := s.stream.GetMsg(ctx, r.entry.Seq); errors.Is(err, jetstream.ErrMsgNotFound) {
				_ = s.erase(ctx, key)
				return webhookqueue.ErrNotFound
			} else if err != nil {
				return err
			}
			info, err := s.stream.Info(ctx)
			if err != nil {
				return err
			}
			e := *r.entry
			e.state = state{Behind: info.State.LastSeq}
			if err = s.write(ctx, e, &r.revision); !errors.Is(err, jetstream.ErrKeyExists) {
				return err
			}
			// Somebody else was faster. What they wrote is about to be known.
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}

// Drop implements [webhookqueue.Queue].
func (q *Queue) Drop(ctx context.Context, id string) error {
	return q.call(ctx, "dropping dead letter", func(ctx context.Context, s *session) error {
		key, r, ok := s.find(id)
		if !ok || !r.entry.state.Dead {
			return webhookqueue.ErrNotFound
		}
		if err := s.removeMessage(ctx, r.entry.Seq); err != nil {
			return err
		}
		return s.erase(ctx, key)
	})
}

// Stats implements [webhookqueue.Queue].
func (q *Queue) Stats(ctx context.Context) (stats webhookqueue.Stats, err error) {
	err = q.call(ctx, "counting webhooks in NATS", func(ctx context.Context, s *session) error {
		info, err := s.stream.Info(ctx)
		if err != nil {
			return err
		}
		stats.Bytes, stats.MaxBytes = int64(info.State.Bytes), max(info.Config.MaxBytes, 0)
		consumer, err := s.consume(ctx, q.names.messages(), 0)
		if err != nil {
			return err
		}
		s.forget(consumer)
		stats.Dead = len(s.all(isDead))
		stats.Waiting = max(int(consumer.CachedInfo().NumPending)-stats.Dead, 0)
		if stats.Waiting == 0 {
			return nil
		}
		return s.readWaiting(ctx, 0, func(e *entry) bool {
			stats.Oldest = e.Received
			return false
		})
	})
	return stats, err
}
