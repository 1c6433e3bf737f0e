package filequeue

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Put implements [webhookqueue.Queue].
func (q *Queue) Put(ctx context.Context, messages []webhookqueue.Message) (webhookqueue.Receipt, error) {
	encoded := make([][]byte, len(messages))
	for i, m := range messages {
		if m.ID == "" {
			return webhookqueue.Receipt{}, errors.New("a message has no ID")
		}
		encoded[i] = m.Encode()
	}
	var receipt webhookqueue.Receipt
	err := q.submit(ctx, true, func(t *transaction) error {
		p := put{t: t, now: time.Now(), fresh: make(map[webhookqueue.Key]bool)}
		err := p.store(messages, encoded)
		receipt = p.receipt
		return err
	})
	if err != nil {
		return webhookqueue.Receipt{}, err
	}
	return receipt, nil
}

// put is a Put within a transaction.
type put struct {
	t   *transaction
	now time.Time
	// fresh are the keys that have not come before, and keys the same as a list.
	fresh   map[webhookqueue.Key]bool
	keys    []webhookqueue.Key
	receipt webhookqueue.Receipt
}

// drop reports whether an event of that key has come before.
func (p *put) drop(k webhookqueue.Key) bool {
	if p.fresh[k] || p.t.seen(k, p.now) {
		p.receipt.Duplicates++
		return true
	}
	p.fresh[k] = true
	p.keys = append(p.keys, k)
	return false
}

func (p *put) store(messages []webhookqueue.Message, encoded [][]byte) error {
	type stored struct {
		webhookqueue.Message
		bytes []byte
	}
	var all []stored
	size := int64(0)
	for i, m := range messages {
		left, ok := m.Without(p.drop)
		if !ok {
			continue
		}
		bytes := encoded[i]
		if len(left.Events) != len(m.Events) {
			bytes = left.Encode()
		}
		all = append(all, stored{left, bytes})
		size += int64(len(bytes)) + overhead
		p.receipt.Messages++
		p.receipt.Events += len(left.Events)
	}
	if len(all) == 0 {
		return nil
	}
	t := p.t
	if t.max > 0 && t.counters.total()+size+int64(len(p.keys))*keyBytes > t.max {
		return webhookqueue.ErrFull
	}
	for _, m := range all {
		number, err := t.Bucket(bucketMessages).NextSequence()
		if err != nil {
			return err
		}
		if err := t.insert(number, m.Message, m.bytes, state{due: p.now}); err != nil {
			return err
		}
		if err := t.Bucket(bucketIDs).Put([]byte(m.ID), numberKey(number)); err != nil {
			return err
		}
		t.counters.Bytes += int64(len(m.bytes)) + overhead
	}
	return t.remember(p.keys, p.now)
}

// insert adds a message to those that wait.
func (t *transaction) insert(number uint64, m webhookqueue.Message, bytes []byte, s state) error {
	key, flow := numberKey(number), flowOf(m)
	if err := t.Bucket(bucketMessages).Put(key, bytes); err != nil {
		return err
	}
	if err := t.Bucket(bucketStates).Put(key, s.encode()); err != nil {
		return err
	}
	t.counters.Waiting++
	first := true
	if m.Lane != "" {
		lane := laneKey(flow, m.Lane)
		_, taken := t.firstOf(lane)
		first = !taken
		if err := t.Bucket(bucketLanes).Put(append(lane, key...), nil); err != nil {
			return err
		}
	}
	if !first {
		return nil
	}
	t.touched[flow] = true
	return t.Bucket(bucketDue).Put(dueKey(flow, s.due, number), nil)
}
