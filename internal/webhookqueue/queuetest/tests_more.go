package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

func testDuplicates(k *kit) {
	q := k.open()
	first := message(1, "", "a")
	k.put(q, first)
	again := message(1, "", "b")
	again.Events = []webhookqueue.Event{first.Events[0], event("new"), event("new"), {JSON: []byte("1")}, {JSON: []byte("1")}}
	whole := message(1, "", "c")
	whole.Events = first.Events
	if got, want := k.put(q, again, whole), (webhookqueue.Receipt{Messages: 1, Events: 3, Duplicates: 3}); got != want {
		k.Errorf("Put = %+v; want %+v", got, want)
	}
	k.wantStats(q, 2, 0)
	for range 2 {
		d := k.receive(q)
		if want := map[string]int{"a": 1, "b": 3}[d.Message().ID]; len(d.Message().Events) != want {
			k.Errorf("message %s has %d events; want %d", d.Message().ID, len(d.Message().Events), want)
		}
		k.done(d)
	}
}

func testDuplicatesOfDone(k *kit) {
	q := k.open()
	m := message(1, "", "a")
	k.put(q, m)
	k.done(k.wantNext(q, "a", 1))
	q = k.killed()
	m.ID = "b"
	if got, want := k.put(q, m), (webhookqueue.Receipt{Duplicates: 1}); got != want {
		k.Errorf("Put = %+v; want %+v", got, want)
	}
	k.wantNone(q)
}

func testDuplicatesForADay(k *kit) {
	q := k.open()
	m := message(1, "", "a")
	k.put(q, m)
	k.done(k.wantNext(q, "a", 1))
	for range 23 {
		time.Sleep(time.Hour)
		k.put(q, message(1, "", time.Now().String()))
		k.done(k.receive(q))
		if got := k.put(q, m); got.Duplicates != 1 {
			k.Fatalf("Put = %+v; want a duplicate", got)
		}
	}
	time.Sleep(webhookqueue.Window - 23*time.Hour - time.Minute)
	if got := k.put(q, m); got.Duplicates != 1 {
		k.Fatalf("Put after a day less a minute = %+v; want a duplicate", got)
	}
	time.Sleep(2 * time.Minute)
	if got := k.put(q, m); got.Messages != 1 {
		k.Fatalf("Put after a day = %+v; want it stored", got)
	}
}

func testFull(k *kit) {
	const size = 64 << 10
	k.opened = k.storage.Open(k.T, size)
	q := k.opened
	text := `{"x":"` + strings.Repeat("x", 1000) + `"}`
	fill := func() (put int, last error) {
		for put < 10*size/len(text) {
			m := message(1, "", fmt.Sprint(time.Now().UnixNano(), put))
			m.Events[0].JSON = []byte(text)
			if _, err := q.Put(k.Context(), []webhookqueue.Message{m}); err != nil {
				return put, err
			}
			put++
		}
		return put, nil
	}
	put, err := fill()
	if !errors.Is(err, webhookqueue.ErrFull) || put < size/len(text)/4 {
		k.Fatalf("after %d messages of %d bytes: error = %v; want ErrFull", put, len(text), err)
	}
	if s := k.stats(q); s.Waiting != put || s.MaxBytes != size || s.Bytes > size {
		k.Errorf("Stats = %+v; want %d waiting and no more than %d bytes", s, put, size)
	}
	// Dead letters count. What is refused was not stored, nor were its keys.
	for range put {
		k.bury(k.receive(q))
	}
	refused := message(1, "", "refused")
	refused.Events[0].JSON = []byte(text)
	for range 2 {
		if receipt, err := q.Put(k.Context(), []webhookqueue.Message{refused}); !errors.Is(err, webhookqueue.ErrFull) {
			k.Fatalf("Put with dead letters only = %+v, %v; want ErrFull", receipt, err)
		}
	}
	for _, e := range k.list(q, true, "", put) {
		if err := q.Drop(k.Context(), e.ID); err != nil {
			k.Fatalf("Drop: %v", err)
		}
	}
	k.put(q, refused)
	k.done(k.wantNext(q, "refused", 1))
	if again, err := fill(); !errors.Is(err, webhookqueue.ErrFull) || again < put/2 {
		k.Errorf("after everything was dropped %d messages went in, %v; want about %d", again, err, put)
	}
}

func testManyAtOnce(k *kit) {
	q := k.open()
	const putters, receivers, each = 4, 8, 25
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	var mu sync.Mutex
	got := make(map[string]int)
	var work, puts sync.WaitGroup
	for i := range receivers {
		work.Go(func() {
			for n := 0; ; n++ {
				d, err := q.Receive(ctx)
				if err != nil {
					return
				}
				if d.Attempt() == 1 && (n+i)%3 == 0 {
					k.retry(d, time.Millisecond)
					continue
				}
				mu.Lock()
				got[d.Message().ID]++
				all := len(got) == putters*each
				mu.Unlock()
				k.done(d)
				if all {
					cancel()
				}
			}
		})
	}
	for i := range putters {
		puts.Go(func() {
			for n := range each {
				k.put(q, message(int64(n%3), fmt.Sprint(n%5), fmt.Sprint(i, "-", n)))
			}
		})
	}
	puts.Wait()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		k.Error("not everything was received")
	}
	cancel()
	work.Wait()
	for id, times := range got {
		if times != 1 {
			k.Errorf("message %s was delivered %d times; want once", id, times)
		}
	}
	k.wantStats(q, 0, 0)
}

func testContexts(k *kit) {
	q := k.open()
	ended, cancel := context.WithCancel(k.Context())
	cancel()
	if _, err := q.Put(ended, []webhookqueue.Message{message(1, "", "a")}); !errors.Is(err, context.Canceled) {
		k.Errorf("Put: error = %v; want the context's", err)
	}
	if _, err := q.Receive(ended); !errors.Is(err, context.Canceled) {
		k.Errorf("Receive: error = %v; want the context's", err)
	}
	if _, err := q.List(ended, true, "", 1); !errors.Is(err, context.Canceled) {
		k.Errorf("List: error = %v; want the context's", err)
	}
}

func testClosed(k *kit) {
	q := k.open()
	k.put(q, message(1, "", "a"))
	d := k.receive(q)
	waits := make(chan error)
	go func() {
		_, err := q.Receive(k.Context())
		waits <- err
	}()
	k.close(webhookqueue.Queue.Close)
	if err := <-waits; !errors.Is(err, webhookqueue.ErrClosed) {
		k.Errorf("Receive: error = %v; want ErrClosed", err)
	}
	if _, err := q.Put(k.Context(), []webhookqueue.Message{message(1, "", "b")}); !errors.Is(err, webhookqueue.ErrClosed) {
		k.Errorf("Put: error = %v; want ErrClosed", err)
	}
	if err := d.Done(k.Context()); !errors.Is(err, webhookqueue.ErrClosed) {
		k.Errorf("Done: error = %v; want ErrClosed", err)
	}
}
