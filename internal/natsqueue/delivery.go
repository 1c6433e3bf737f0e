package natsqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Receive implements [webhookqueue.Queue].
func (q *Queue) Receive(ctx context.Context) (webhookqueue.Delivery, error) {
	for {
		switch {
		case q.ctx.Err() != nil:
			return nil, fmt.Errorf("receiving webhooks from NATS: %w", webhookqueue.ErrClosed)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("receiving webhooks from NATS: %w", ctx.Err())
		}
		e, ok, look, changed := q.index.next()
		if !ok {
			q.await(ctx, look, changed)
			continue
		}
		m, err := q.content(ctx, e)
		switch {
		case err == nil:
			return &delivery{q: q, entry: e, message: m, attempt: e.state.Attempts + 1}, nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			q.index.remove(e.ID) // another sidecar was done with it
		case errors.Is(err, webhookqueue.ErrCorrupt):
			q.logger.Error("a webhook cannot be read, and is left in the stream", "stream", q.names.stream, "sequence", e.Seq, "error", err)
			q.index.remove(e.ID)
		default:
			q.index.again(e.ID, nil)
			q.await(ctx, time.Now().Add(100*time.Millisecond), nil)
		}
	}
}

// await waits for a change, or until it is time to look again.
func (q *Queue) await(ctx context.Context, look time.Time, changed <-chan struct{}) {
	var due <-chan time.Time
	if !look.IsZero() {
		timer := time.NewTimer(time.Until(look))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
	case <-due:
	case <-ctx.Done():
	case <-q.ctx.Done():
	}
}

func (q *Queue) content(ctx context.Context, e entry) (m webhookqueue.Message, err error) {
	err = q.call(ctx, "reading webhook", func(ctx context.Context, s *session) error {
		msg, err := s.stream.GetMsg(ctx, e.Seq)
		if err == nil {
			m, err = fromNATS(msg.Header, msg.Data)
		}
		return err
	})
	return m, err
}

// delivery implements [webhookqueue.Delivery].
type delivery struct {
	q       *Queue
	entry   entry
	message webhookqueue.Message
	attempt int
}

func (d *delivery) Message() webhookqueue.Message { return d.message }
func (d *delivery) Attempt() int                  { return d.attempt }

func (d *delivery) Done(ctx context.Context) error {
	return d.q.call(ctx, "removing webhook from NATS", func(ctx context.Context, s *session) error {
		if err := s.removeMessage(ctx, d.entry.Seq); err != nil {
			return err
		}
		// What is left of it if this fails is found when the partition is read.
		_ = s.erase(ctx, record(d.entry.partition(), d.entry.ID))
		d.q.index.remove(d.entry.ID)
		return nil
	})
}

func (d *delivery) Retry(ctx context.Context, after time.Duration, status int) error {
	return d.settle(ctx, state{
		Attempts: d.attempt, Status: status, At: time.Now(), Due: time.Now().Add(after), Behind: d.entry.state.Behind,
	})
}

func (d *delivery) Bury(ctx context.Context, status int) error {
	return d.settle(ctx, state{Attempts: d.attempt, Status: status, At: time.Now(), Dead: true})
}

// settle stores what came of an attempt. If the partition is another's by now, so is
// the message, and there is nothing to say.
func (d *delivery) settle(ctx context.Context, now state) error {
	return d.q.call(ctx, "storing what came of a webhook in NATS", func(ctx context.Context, s *session) error {
		if d.q.index.owns(d.entry.partition()) {
			e := d.entry
			e.state = now
			if err := s.write(ctx, e, nil); err != nil {
				return err
			}
		}
		if now.Dead {
			d.q.index.remove(d.entry.ID)
		} else {
			d.q.index.again(d.entry.ID, func(s *state) { *s = now })
		}
		return nil
	})
}

func (d *delivery) Return(context.Context) error {
	if d.q.ctx.Err() != nil {
		return fmt.Errorf("returning webhook: %w", webhookqueue.ErrClosed)
	}
	d.q.index.again(d.entry.ID, nil)
	return nil
}
