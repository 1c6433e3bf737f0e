package queuetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

func testReceived(k *kit) {
	q := k.open()
	whole := message(62515, "lane/ü", "a")
	whole.Events = append(whole.Events, webhookqueue.Event{JSON: []byte(`{ "x":"<&>" }`)})
	body := webhookqueue.Message{
		ID: "b", App: "other", ReceivedAt: whole.ReceivedAt, Body: []byte("no JSON \xff"), ContentType: "text/plain",
	}
	if got, want := k.put(q, whole, body), (webhookqueue.Receipt{Messages: 2, Events: 2}); got != want {
		k.Errorf("Put = %+v; want %+v", got, want)
	}
	k.wantStats(q, 2, 0)
	if s := k.stats(q); s.Oldest.Sub(whole.ReceivedAt).Abs() > time.Second || s.Bytes <= 0 {
		k.Errorf("Stats = %+v; want the oldest from %v, and bytes", s, whole.ReceivedAt)
	}
	whole.Events[0].Key = webhookqueue.Key{} // is not part of what is received
	want := map[string]webhookqueue.Message{"a": whole, "b": body}
	for range 2 {
		d := k.receive(q)
		got := d.Message()
		if !got.ReceivedAt.Equal(whole.ReceivedAt) {
			k.Errorf("received at %v; want %v", got.ReceivedAt, whole.ReceivedAt)
		}
		got.ReceivedAt = whole.ReceivedAt
		if !reflect.DeepEqual(got, want[got.ID]) {
			k.Errorf("received %+v; want %+v", got, want[got.ID])
		}
		delete(want, got.ID)
		k.done(d)
	}
}

func testDone(k *kit) {
	q := k.open()
	k.put(q, message(1, "", "a"))
	k.done(k.wantNext(q, "a", 1))
	k.wantNone(q)
	k.wantStats(q, 0, 0)
	q = k.killed()
	k.wantNone(q)
	k.wantStats(q, 0, 0)
	if s := k.stats(q); !s.Oldest.IsZero() {
		k.Errorf("Stats: the oldest from %v; want none", s.Oldest)
	}
}

func testNotSettled(k *kit) {
	q := k.open()
	k.put(q, message(1, "", "a"), message(2, "", "b"))
	k.receive(q)
	k.receive(q)
	k.wantNone(q)
	for _, again := range []func() webhookqueue.Queue{k.open, k.killed} {
		q = again()
		k.wantStats(q, 2, 0)
		ids := map[string]bool{k.receive(q).Message().ID: true, k.receive(q).Message().ID: true}
		if !ids["a"] || !ids["b"] {
			k.Errorf("after a start %v came again; want both", ids)
		}
	}
}

func testAttempts(k *kit) {
	q := k.open()
	k.put(q, message(1, "", "a"))
	for attempt := 1; attempt <= 3; attempt++ {
		k.retry(k.wantNext(q, "a", attempt), time.Millisecond)
	}
	q = k.killed()
	d := k.wantNext(q, "a", 4)
	entries := k.list(q, false, "", 10)
	if len(entries) != 1 || entries[0].Attempts != 3 || entries[0].LastStatus != 500 || entries[0].LastAt.IsZero() || entries[0].Dead {
		k.Errorf("List = %+v; want 3 attempts, the last answered 500", entries)
	}
	k.done(d)
}

func testRetryWaits(k *kit) {
	q := k.open()
	k.put(q, message(1, "", "a"))
	d := k.wantNext(q, "a", 1)
	k.put(q, message(1, "", "b"))
	since := time.Now()
	k.retry(d, k.backoff)
	k.done(k.wantNext(q, "b", 1))
	k.wantNone(q)
	d = k.wantNext(q, "a", 2)
	if waited := time.Since(since); waited < k.backoff {
		k.Errorf("the message came again after %v; want %v at least", waited, k.backoff)
	}
	since = time.Now()
	k.retry(d, k.backoff)
	q = k.killed()
	k.wantNext(q, "a", 3)
	if waited := time.Since(since); waited < k.backoff {
		k.Errorf("after a start the message came again after %v; want %v at least", waited, k.backoff)
	}
}

func testReturn(k *kit) {
	q := k.open()
	k.put(q, message(1, "l", "a"), message(1, "l", "b"))
	d := k.wantNext(q, "a", 1)
	if err := d.Return(k.Context()); err != nil {
		k.Fatalf("Return: %v", err)
	}
	k.done(k.wantNext(q, "a", 1))
	k.done(k.wantNext(q, "b", 1))
}

func testReceiveWaits(k *kit) {
	q := k.open()
	got := make(chan webhookqueue.Delivery)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(k.Context(), patience)
			defer cancel()
			d, err := q.Receive(ctx)
			if err != nil {
				k.Errorf("Receive: %v", err)
			}
			got <- d
		})
	}
	for i := range 3 {
		k.put(q, message(int64(i), "", fmt.Sprint(i)))
		k.done(<-got)
	}
	wg.Wait()
}

func testLanes(k *kit) {
	q := k.open()
	k.put(q, message(1, "one", "a1"), message(1, "one", "a2"))
	k.put(q, message(1, "one", "a3"), message(1, "two", "b1"), message(2, "one", "c1"))
	out := make(map[string]webhookqueue.Delivery)
	for range 3 {
		d := k.receive(q)
		out[d.Message().ID] = d
	}
	if out["a1"] == nil || out["b1"] == nil || out["c1"] == nil {
		k.Fatalf("received %v; want the first of each lane", out)
	}
	k.wantNone(q)
	k.retry(out["a1"], k.backoff/2)
	k.wantNone(q) // a2 waits for a1
	k.done(out["b1"], out["c1"])
	k.done(k.wantNext(q, "a1", 2))
	k.done(k.wantNext(q, "a2", 1))
	k.done(k.wantNext(q, "a3", 1))
}

func testLanesAfterStart(k *kit) {
	q := k.open()
	for i := range 20 {
		k.put(q, message(1, "one", fmt.Sprint(i)))
	}
	k.done(k.wantNext(q, "0", 1))
	k.retry(k.wantNext(q, "1", 1), k.backoff/2)
	q = k.killed()
	k.put(q, message(1, "one", "20"))
	for i := 1; i <= 20; i++ {
		attempt := 1
		if i == 1 {
			attempt = 2
		}
		k.done(k.wantNext(q, fmt.Sprint(i), attempt))
	}
}

func testDeadLane(k *kit) {
	q := k.open()
	k.put(q, message(1, "one", "a"), message(1, "one", "b"), message(1, "one", "c"))
	k.bury(k.wantNext(q, "a", 1))
	b := k.wantNext(q, "b", 1)
	if err := q.Retry(k.Context(), "a"); err != nil {
		k.Fatalf("Retry: %v", err)
	}
	k.wantNone(q)
	k.done(b)
	k.done(k.wantNext(q, "c", 1))
	k.done(k.wantNext(q, "a", 1))
}

// A portal with a backlog, all of it out or to be tried later, does not keep
// another's message from coming.
func testPortals(k *kit) {
	q := k.open()
	var backlog []webhookqueue.Message
	for i := range 50 {
		backlog = append(backlog, message(1, "", fmt.Sprint("a", i)))
	}
	k.put(q, backlog...)
	var out []webhookqueue.Delivery
	for range webhookqueue.MaxPerPortal {
		out = append(out, k.receive(q))
	}
	k.wantNone(q)
	k.put(q, message(2, "", "b"))
	k.done(k.wantNext(q, "b", 1))
	// The portals take turns.
	k.put(q, message(2, "", "c"), message(3, "", "d"))
	k.done(out...)
	seen := make(map[int64]bool)
	for range 3 {
		d := k.receive(q)
		seen[d.Message().Portal] = true
		k.done(d)
	}
	if len(seen) != 3 {
		k.Errorf("of the next three messages portals %v had one; want all three", seen)
	}
}

func testDead(k *kit) {
	q := k.open()
	m := message(62515, "", "a")
	m.Events = append(m.Events, event("a2"))
	k.put(q, m)
	k.retry(k.wantNext(q, "a", 1), 0)
	k.bury(k.wantNext(q, "a", 2))
	k.wantNone(q)
	q = k.killed()
	k.wantNone(q)
	k.wantStats(q, 0, 1)
	if s := k.stats(q); s.Bytes <= 0 {
		k.Errorf("Stats: %d bytes; want those of the dead letter", s.Bytes)
	}
	entries := k.list(q, true, "", 10)
	if len(entries) != 1 {
		k.Fatalf("List = %+v; want one dead letter", entries)
	}
	e := entries[0]
	if e.ID != "a" || e.App != "hbdev" || e.Portal != 62515 || e.Attempts != 2 || e.Events != 2 || e.LastStatus != 422 || !e.Dead {
		k.Errorf("List = %+v; want the dead letter with 2 attempts, the last answered 422, and 2 events", e)
	}
	if e.LastAt.Before(e.ReceivedAt) || e.ReceivedAt.Sub(m.ReceivedAt).Abs() > time.Millisecond {
		k.Errorf("List = %+v; want it received at %v and tried later", e, m.ReceivedAt)
	}
	if waiting := k.list(q, false, "", 10); len(waiting) != 0 {
		k.Errorf("List of those that wait = %+v; want none", waiting)
	}
	if err := q.Retry(k.Context(), "a"); err != nil {
		k.Fatalf("Retry: %v", err)
	}
	k.wantStats(q, 1, 0)
	k.bury(k.wantNext(q, "a", 1))
	if err := q.Drop(k.Context(), "a"); err != nil {
		k.Fatalf("Drop: %v", err)
	}
	k.wantStats(q, 0, 0)
	for _, id := range []string{"a", "", "no such", "../a"} {
		if err := q.Retry(k.Context(), id); !errors.Is(err, webhookqueue.ErrNotFound) {
			k.Errorf("Retry(%q): error = %v; want ErrNotFound", id, err)
		}
		if err := q.Drop(k.Context(), id); !errors.Is(err, webhookqueue.ErrNotFound) {
			k.Errorf("Drop(%q): error = %v; want ErrNotFound", id, err)
		}
	}
}

func testDeadPages(k *kit) {
	q := k.open()
	const n = 7
	for i := range n {
		k.put(q, message(1, "", fmt.Sprint(i)))
		k.bury(k.receive(q))
	}
	k.put(q, message(1, "", "waits"))
	var ids []string
	after := ""
	for {
		page := k.list(q, true, after, 3)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			ids = append(ids, e.ID)
		}
		after = page[len(page)-1].ID
	}
	if want := []string{"0", "1", "2", "3", "4", "5", "6"}; !reflect.DeepEqual(ids, want) {
		k.Errorf("the pages list %v; want %v", ids, want)
	}
	if page := k.list(q, true, "no such", 3); len(page) != 0 {
		k.Errorf("List after what is not there = %+v; want nothing", page)
	}
}
