package filequeue

import (
	"bytes"
	"context"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// delivery is a message that is out.
type delivery struct {
	q       *Queue
	number  uint64
	message webhookqueue.Message
	size    int64
	state   state
}

// Message implements [webhookqueue.Delivery].
func (d *delivery) Message() webhookqueue.Message { return d.message }

// Attempt implements [webhookqueue.Delivery].
func (d *delivery) Attempt() int { return int(d.state.attempts) + 1 }

// Done implements [webhookqueue.Delivery].
func (d *delivery) Done(ctx context.Context) error {
	return d.settle(ctx, func(t *transaction) error {
		if err := t.remove(d); err != nil {
			return err
		}
		t.counters.Bytes -= d.size
		return t.forget(d.number, d.message.ID)
	})
}

// Retry implements [webhookqueue.Delivery].
func (d *delivery) Retry(ctx context.Context, after time.Duration, status int) error {
	return d.settle(ctx, func(t *transaction) error {
		s := d.failed(status)
		// Rounded up, so that it is never early.
		s.due = s.lastAt.Add(after + time.Millisecond - 1)
		flow := flowOf(d.message)
		due := t.Bucket(bucketDue)
		if err := due.Delete(dueKey(flow, d.state.due, d.number)); err != nil {
			return err
		}
		if err := due.Put(dueKey(flow, s.due, d.number), nil); err != nil {
			return err
		}
		return t.Bucket(bucketStates).Put(numberKey(d.number), s.encode())
	})
}

// Bury implements [webhookqueue.Delivery].
func (d *delivery) Bury(ctx context.Context, status int) error {
	return d.settle(ctx, func(t *transaction) error {
		key := numberKey(d.number)
		raw := bytes.Clone(t.Bucket(bucketMessages).Get(key))
		if err := t.remove(d); err != nil {
			return err
		}
		t.counters.Dead++
		if err := t.Bucket(bucketDead).Put(key, raw); err != nil {
			return err
		}
		return t.Bucket(bucketStates).Put(key, d.failed(status).encode())
	})
}

// Return implements [webhookqueue.Delivery]. Nothing of it is in the file.
func (d *delivery) Return(ctx context.Context) error {
	return d.settle(ctx, func(*transaction) error { return nil })
}

// failed is the state after this attempt.
func (d *delivery) failed(status int) state {
	s := d.state
	s.attempts++
	s.lastAt, s.lastStatus = time.Now(), int32(status)
	return s
}

// settle makes a change to a message that is out; one that is gone was settled by
// a call that has failed only to say so.
func (d *delivery) settle(ctx context.Context, change func(*transaction) error) error {
	return d.q.submit(ctx, false, func(t *transaction) error {
		t.settled = append(t.settled, d.number)
		t.touched[flowOf(d.message)] = true
		if t.Bucket(bucketMessages).Get(numberKey(d.number)) == nil {
			return nil
		}
		return change(t)
	})
}

// remove takes a message from those that wait, and lets the next of its lane
// come.
func (t *transaction) remove(d *delivery) error {
	flow := flowOf(d.message)
	if err := t.Bucket(bucketMessages).Delete(numberKey(d.number)); err != nil {
		return err
	}
	if err := t.Bucket(bucketDue).Delete(dueKey(flow, d.state.due, d.number)); err != nil {
		return err
	}
	t.counters.Waiting--
	if d.message.Lane == "" {
		return nil
	}
	lane := laneKey(flow, d.message.Lane)
	if err := t.Bucket(bucketLanes).Delete(append(lane, numberKey(d.number)...)); err != nil {
		return err
	}
	return t.promote(flow, lane)
}

// promote lets the first message of a lane come.
func (t *transaction) promote(flow string, lane []byte) error {
	next, ok := t.firstOf(lane)
	if !ok {
		return nil
	}
	s, err := decodeState(t.Bucket(bucketStates).Get(numberKey(next)))
	if err != nil {
		return err
	}
	return t.Bucket(bucketDue).Put(dueKey(flow, s.due, next), nil)
}

// firstOf returns the first message of a lane.
func (t *transaction) firstOf(lane []byte) (number uint64, ok bool) {
	k, _ := t.Bucket(bucketLanes).Cursor().Seek(lane)
	if k == nil || !bytes.HasPrefix(k, lane) {
		return 0, false
	}
	return numberOf(k), true
}

// forget removes what is kept of a message beside it.
func (t *transaction) forget(number uint64, id string) error {
	if err := t.Bucket(bucketStates).Delete(numberKey(number)); err != nil {
		return err
	}
	return t.Bucket(bucketIDs).Delete([]byte(id))
}

// putAway moves a message that cannot be read out of the way of others.
func (q *Queue) putAway(flow string, due []byte) error {
	number := numberOf(due)
	return q.submit(context.Background(), false, func(t *transaction) error {
		t.settled = append(t.settled, number)
		t.touched[flow] = true
		key := numberKey(number)
		raw := bytes.Clone(t.Bucket(bucketMessages).Get(key))
		if err := t.Bucket(bucketDue).Delete(due); err != nil {
			return err
		}
		if err := t.Bucket(bucketMessages).Delete(key); err != nil {
			return err
		}
		if err := t.Bucket(bucketStates).Delete(key); err != nil {
			return err
		}
		t.counters.Waiting--
		t.counters.Bytes -= int64(len(raw)) + overhead
		if err := t.Bucket(bucketDamaged).Put(key, raw); err != nil {
			return err
		}
		return t.leaveLane(flow, number)
	})
}

// leaveLane takes a message, of which the lane is not known any more, out of it.
func (t *transaction) leaveLane(flow string, number uint64) error {
	lanes := t.Bucket(bucketLanes)
	c := lanes.Cursor()
	for k, _ := c.Seek([]byte(flow)); k != nil && bytes.HasPrefix(k, []byte(flow)); k, _ = c.Next() {
		if numberOf(k) != number {
			continue
		}
		lane := bytes.Clone(k[:len(k)-8])
		if err := lanes.Delete(bytes.Clone(k)); err != nil {
			return err
		}
		return t.promote(flow, lane)
	}
	return nil
}
