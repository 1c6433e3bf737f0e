package filequeue

import (
	"bytes"
	"context"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// List implements [webhookqueue.Queue]. Messages that cannot be read are left out.
func (q *Queue) List(ctx context.Context, dead bool, after string, limit int) (entries []webhookqueue.Entry, err error) {
	from := bucketMessages
	if dead {
		from = bucketDead
	}
	err = q.view(ctx, func(b *bolt.Tx) error {
		c := b.Bucket(from).Cursor()
		k, v := c.First()
		if after != "" {
			last := b.Bucket(bucketIDs).Get([]byte(after))
			if last == nil || b.Bucket(from).Get(last) == nil {
				return nil
			}
			c.Seek(last)
			k, v = c.Next()
		}
		for ; k != nil && len(entries) < limit; k, v = c.Next() {
			m, err := webhookqueue.Decode(v)
			if err != nil {
				continue
			}
			s, err := decodeState(b.Bucket(bucketStates).Get(k))
			if err != nil {
				continue
			}
			entries = append(entries, webhookqueue.Entry{
				ID: m.ID, App: m.App, Portal: m.Portal, Attempts: int(s.attempts), ReceivedAt: m.ReceivedAt,
				LastAt: s.lastAt, LastStatus: int(s.lastStatus), Events: len(m.Events), Dead: dead,
			})
		}
		return nil
	})
	return entries, err
}

// Retry implements [webhookqueue.Queue].
func (q *Queue) Retry(ctx context.Context, id string) error {
	return q.exhume(ctx, id, func(t *transaction, raw []byte) error {
		m, err := webhookqueue.Decode(raw)
		if err != nil {
			return webhookqueue.ErrNotFound
		}
		number, err := t.Bucket(bucketMessages).NextSequence()
		if err != nil {
			return err
		}
		t.counters.Bytes += int64(len(raw)) + overhead
		if err := t.Bucket(bucketIDs).Put([]byte(id), numberKey(number)); err != nil {
			return err
		}
		return t.insert(number, m, raw, state{due: time.Now()})
	})
}

// Drop implements [webhookqueue.Queue].
func (q *Queue) Drop(ctx context.Context, id string) error {
	return q.exhume(ctx, id, func(*transaction, []byte) error { return nil })
}

// exhume takes a dead letter out of those and gives it to then.
func (q *Queue) exhume(ctx context.Context, id string, then func(t *transaction, raw []byte) error) error {
	if id == "" {
		return webhookqueue.ErrNotFound
	}
	return q.submit(ctx, false, func(t *transaction) error {
		key := bytes.Clone(t.Bucket(bucketIDs).Get([]byte(id)))
		if key == nil {
			return webhookqueue.ErrNotFound
		}
		raw := bytes.Clone(t.Bucket(bucketDead).Get(key))
		if raw == nil {
			return webhookqueue.ErrNotFound
		}
		if err := t.Bucket(bucketDead).Delete(key); err != nil {
			return err
		}
		if err := t.forget(numberOf(key), id); err != nil {
			return err
		}
		t.counters.Dead--
		t.counters.Bytes -= int64(len(raw)) + overhead
		return then(t, raw)
	})
}
