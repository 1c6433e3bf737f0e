package queuetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// message is one of the portal's with one event, whose key is its own.
func message(portal int64, lane, id string) webhookqueue.Message {
	return webhookqueue.Message{
		ID: id, App: "hbdev", Portal: portal, Lane: lane, ReceivedAt: time.UnixMilli(time.Now().UnixMilli()),
		Events: []webhookqueue.Event{event(id)},
	}
}

// event is the one of that name.
func event(name string) webhookqueue.Event {
	e := webhookqueue.Event{JSON: fmt.Appendf(nil, `{"eventId": %q}`, name)}
	binary.BigEndian.PutUint32(e.Key[:], uint32(time.Now().Unix()))
	sum := sha256.Sum256([]byte(name))
	copy(e.Key[4:], sum[:])
	return e
}

func (k *kit) put(q webhookqueue.Queue, messages ...webhookqueue.Message) webhookqueue.Receipt {
	k.Helper()
	receipt, err := q.Put(k.Context(), messages)
	if err != nil {
		k.Errorf("Put: %v", err)
	}
	return receipt
}

func (k *kit) receive(q webhookqueue.Queue) webhookqueue.Delivery {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), patience+k.backoff)
	defer cancel()
	d, err := q.Receive(ctx)
	if err != nil {
		k.Fatalf("Receive: %v", err)
	}
	return d
}

// wantNext receives a message, which has to be that one.
func (k *kit) wantNext(q webhookqueue.Queue, id string, attempt int) webhookqueue.Delivery {
	k.Helper()
	d := k.receive(q)
	if d.Message().ID != id || d.Attempt() != attempt {
		k.Fatalf("Receive: message %s, attempt %d; want %s, %d", d.Message().ID, d.Attempt(), id, attempt)
	}
	return d
}

// wantNone checks that nothing can be received now.
func (k *kit) wantNone(q webhookqueue.Queue) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), k.backoff/8)
	defer cancel()
	if d, err := q.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		id := ""
		if err == nil {
			id = d.Message().ID
		}
		k.Fatalf("Receive: message %q, %v; want none", id, err)
	}
}

func (k *kit) done(deliveries ...webhookqueue.Delivery) {
	k.Helper()
	for _, d := range deliveries {
		if err := d.Done(k.Context()); err != nil {
			k.Errorf("Done: %v", err)
		}
	}
}

func (k *kit) retry(d webhookqueue.Delivery, after time.Duration) {
	k.Helper()
	if err := d.Retry(k.Context(), after, 500); err != nil {
		k.Errorf("Retry: %v", err)
	}
}

func (k *kit) bury(d webhookqueue.Delivery) {
	k.Helper()
	if err := d.Bury(k.Context(), 422); err != nil {
		k.Errorf("Bury: %v", err)
	}
}

func (k *kit) list(q webhookqueue.Queue, dead bool, after string, limit int) []webhookqueue.Entry {
	k.Helper()
	entries, err := q.List(k.Context(), dead, after, limit)
	if err != nil {
		k.Fatalf("List: %v", err)
	}
	return entries
}

func (k *kit) stats(q webhookqueue.Queue) webhookqueue.Stats {
	k.Helper()
	stats, err := q.Stats(k.Context())
	if err != nil {
		k.Fatalf("Stats: %v", err)
	}
	return stats
}

// wantStats checks how many messages wait and are dead.
func (k *kit) wantStats(q webhookqueue.Queue, waiting, dead int) {
	k.Helper()
	if s := k.stats(q); s.Waiting != waiting || s.Dead != dead {
		k.Errorf("Stats: %d waiting, %d dead; want %d and %d", s.Waiting, s.Dead, waiting, dead)
	}
}
