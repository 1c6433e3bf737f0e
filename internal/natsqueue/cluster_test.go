package natsqueue_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/natsqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/natstest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

const patience = 20 * time.Second

func message(portal int64, lane, id string) webhookqueue.Message {
	e := webhookqueue.Event{JSON: fmt.Appendf(nil, `{"eventId": %q}`, id)}
	binary.BigEndian.PutUint32(e.Key[:], uint32(time.Now().Unix()))
	sum := sha256.Sum256([]byte(id))
	copy(e.Key[4:], sum[:])
	return webhookqueue.Message{
		ID: id, App: "hbdev", Portal: portal, Lane: lane, ReceivedAt: time.Now(), Events: []webhookqueue.Event{e},
	}
}

// app is the app behind of several sidecars: it notes what it is sent.
type app struct {
	t       *testing.T
	mu      sync.Mutex
	times   map[string]int      // deliveries by ID
	by      map[string]int      // messages by sidecar
	lanes   map[string][]string // the first deliveries, in order
	changed chan struct{}
}

func newApp(t *testing.T) *app {
	return &app{t: t, times: make(map[string]int), by: make(map[string]int), lanes: make(map[string][]string), changed: make(chan struct{}, 1)}
}

func (a *app) take(sidecar string, m webhookqueue.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times[m.ID]++
	a.by[sidecar]++
	if a.times[m.ID] == 1 {
		lane := fmt.Sprint(m.Portal, "/", m.Lane)
		a.lanes[lane] = append(a.lanes[lane], m.ID)
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// wait waits until is holds, which it is asked with the lock held.
func (a *app) wait(what string, is func() bool) {
	a.t.Helper()
	deadline := time.After(patience)
	for {
		a.mu.Lock()
		ok, n := is(), len(a.times)
		a.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-a.changed:
		case <-deadline:
			a.t.Fatalf("waited for %s; %d messages were delivered", what, n)
		}
	}
}

// deliver delivers what a sidecar receives, until the queue is closed.
func (a *app) deliver(work *sync.WaitGroup, name string, q *natsqueue.Queue) {
	for range 4 {
		work.Go(func() {
			for {
				d, err := q.Receive(a.t.Context())
				if err != nil {
					return
				}
				a.take(name, d.Message())
				for d.Done(a.t.Context()) != nil {
					if a.t.Context().Err() != nil {
						return
					}
					if d.Return(a.t.Context()) != nil {
						return // killed
					}
					break
				}
			}
		})
	}
}

func (a *app) checkOrder(lanes, each int) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lanes) != lanes {
		a.t.Errorf("there are %d lanes; want %d", len(a.lanes), lanes)
	}
	for lane, ids := range a.lanes {
		if len(ids) != each || !slices.IsSorted(ids) {
			a.t.Errorf("lane %s was delivered as %v", lane, ids)
		}
	}
}

const lanes, each = 12, 8

// putAll puts the messages of all lanes, each to one of the queues in turn, and one
// in three to the other too, as HubSpot does when it got no answer.
func putAll(t *testing.T, from, to int, queues ...*natsqueue.Queue) {
	t.Helper()
	for n := from; n < to; n++ {
		for lane := range lanes {
			m := message(int64(lane), "l", fmt.Sprintf("%03d-%03d", lane, n))
			if _, err := queues[(lane+n)%len(queues)].Put(t.Context(), []webhookqueue.Message{m}); err != nil {
				t.Errorf("Put: %v", err)
			}
			if (lane+n)%3 > 0 {
				continue
			}
			again := m
			again.ID += "-again"
			r, err := queues[(lane+n+1)%len(queues)].Put(t.Context(), []webhookqueue.Message{again})
			if err != nil || r.Duplicates != 1 || r.Messages != 0 {
				t.Errorf("Put of the same event to another = %+v, %v; want a duplicate", r, err)
			}
		}
	}
}

// Two sidecars share a stream: each event is delivered once, in order per lane, and
// both deliver.
func TestTwoSidecars(t *testing.T) {
	t.Parallel()
	config := settings(t, shared.Server(t))
	one, two := open(t, config), open(t, config)
	a := newApp(t)
	var work sync.WaitGroup
	a.deliver(&work, "one", one)
	a.deliver(&work, "two", two)
	// From now on both know of each other.
	for n := 0; !a.both(); n++ {
		m := message(int64(n), "", fmt.Sprint("warm", n))
		if _, err := one.Put(t.Context(), []webhookqueue.Message{m}); err != nil {
			t.Fatal(err)
		}
		a.wait("the first", func() bool { return a.times[m.ID] > 0 })
	}
	a.mu.Lock()
	a.times, a.lanes = make(map[string]int), make(map[string][]string)
	a.mu.Unlock()
	putAll(t, 0, each, one, two)
	a.wait("all", func() bool { return len(a.times) == lanes*each })
	a.checkOrder(lanes, each)
	for id, n := range a.times {
		if n != 1 {
			t.Errorf("message %s was delivered %d times", id, n)
		}
	}
	if s, err := two.Stats(t.Context()); err != nil || s.Waiting != 0 {
		t.Errorf("Stats = %+v, %v; want nothing waiting", s, err)
	}
	_ = one.Close()
	_ = two.Close()
	work.Wait()
}

func (a *app) both() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.by["one"] > 0 && a.by["two"] > 0
}

// One of two sidecars is killed in the middle: the other goes on, nothing is lost,
// and no lane gets out of order.
func TestOneOfTwoIsKilled(t *testing.T) {
	t.Parallel()
	config := settings(t, shared.Server(t))
	one, two := open(t, config), open(t, config)
	a := newApp(t)
	var work sync.WaitGroup
	putAll(t, 0, each/2, one, two)
	a.deliver(&work, "one", one)
	a.deliver(&work, "two", two)
	a.wait("some", func() bool { return len(a.times) > lanes })
	one.Kill()
	putAll(t, each/2, each, two)
	a.wait("all", func() bool { return len(a.times) == lanes*each })
	a.checkOrder(lanes, each)
	_ = two.Close()
	work.Wait()
}

// The same event at the same time at both: one takes it.
func TestTheSameEventsAtOnce(t *testing.T) {
	t.Parallel()
	config := settings(t, shared.Server(t))
	var queues []*natsqueue.Queue
	for range 3 {
		queues = append(queues, open(t, config))
	}
	var mu sync.Mutex
	stored := 0
	var work sync.WaitGroup
	for i, q := range queues {
		work.Go(func() {
			for n := range 40 {
				m := message(1, "", fmt.Sprint("event", n))
				binary.BigEndian.PutUint32(m.Events[0].Key[:], uint32(n/10))
				m.ID = fmt.Sprint(i, "-", n)
				r, err := q.Put(t.Context(), []webhookqueue.Message{m})
				if err != nil {
					t.Errorf("Put: %v", err)
				}
				mu.Lock()
				stored += r.Messages
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if s, err := queues[0].Stats(t.Context()); err != nil || s.Waiting != 40 || stored != 40 {
		t.Errorf("Stats = %+v, %v, and %d were stored; want 40", s, err, stored)
	}
	for _, q := range queues {
		_ = q.Close()
	}
}

// The server ends in the middle, by a signal and by kill -9: what was stored is
// delivered, attempts go on counting, and nobody has to do anything.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, "")
	config := settings(t, server)
	one, two := open(t, config), open(t, config)
	putAll(t, 0, each/2, one, two)
	d := receive(t, one)
	if err := d.Retry(t.Context(), 0, 500); err != nil {
		t.Fatal(err)
	}
	server.Kill(t)
	began := time.Now()
	if _, err := one.Put(t.Context(), []webhookqueue.Message{message(1, "", "away")}); !isUnavailable(err) {
		t.Errorf("Put while the server is away: %v; want ErrUnavailable", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Put while the server is away took %v; HubSpot gives up after 5 s", took)
	}
	server.Restart(t)
	a := newApp(t)
	var work sync.WaitGroup
	putAll(t, each/2, each, one, two)
	entries, err := two.List(t.Context(), false, "", 1000)
	if err != nil || len(entries) != lanes*each {
		t.Fatalf("List = %d entries, %v; want %d", len(entries), err, lanes*each)
	}
	for _, e := range entries {
		if want := map[bool]int{true: 1}[e.ID == d.Message().ID]; e.Attempts != want {
			t.Errorf("message %s has %d attempts; want %d", e.ID, e.Attempts, want)
		}
	}
	a.deliver(&work, "one", one)
	a.deliver(&work, "two", two)
	a.wait("some", func() bool { return len(a.times) > lanes })
	server.Stop(t)
	server.Restart(t)
	a.wait("all", func() bool { return len(a.times) == lanes*each })
	a.checkOrder(lanes, each)
	_ = one.Close()
	_ = two.Close()
	work.Wait()
}

func receive(t *testing.T, q *natsqueue.Queue) webhookqueue.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := q.Receive(ctx)
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return d
}

func isUnavailable(err error) bool {
	return err != nil && strings.Contains(err.Error(), webhookqueue.ErrUnavailable.Error())
}
