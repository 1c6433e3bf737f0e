package webhookdelivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/filequeue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookdelivery"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// behind is the app behind, and what happens on the way to it.
type behind struct {
	mu       sync.Mutex
	requests []request
	answer   func(*http.Request) (int, error)
	results  map[webhookdelivery.Result]int
	unknown  int
}

type request struct {
	*http.Request
	body string
	at   time.Time
}

func (b *behind) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.requests = append(b.requests, request{r, string(body), time.Now()})
	answer := b.answer
	b.mu.Unlock()
	status, err := http.StatusNoContent, error(nil)
	if answer != nil {
		status, err = answer(r)
	}
	if err != nil {
		return nil, err
	}
	header := http.Header{"Location": {"http://elsewhere.example/"}}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("text")), Request: r}, nil
}

func (b *behind) Attempted(_ string, result webhookdelivery.Result, _ time.Duration, events int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.results[result] += events
}

func (b *behind) UnknownPortal(string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unknown++
}

// world is an engine with its queue, and the app behind.
type world struct {
	*behind
	t     *testing.T
	queue *filequeue.Queue
	users func(portal int64) ([]string, error)
}

// inWorld runs a test in a bubble, with settings for 3 attempts of 10 s.
func inWorld(t *testing.T, test func(w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue, err := filequeue.Open(filequeue.Options{Path: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{behind: &behind{results: make(map[webhookdelivery.Result]int)}, t: t, queue: queue}
		w.users = func(int64) ([]string, error) { return []string{"acme"}, nil }
		test(w)
		if err := queue.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) start() *webhookdelivery.Engine {
	return webhookdelivery.Start(webhookdelivery.Config{
		Queue: w.queue, Transport: w.behind, Observer: w.behind, Logger: slog.New(slog.DiscardHandler),
		Settings: func() webhookdelivery.Settings {
			return webhookdelivery.Settings{URL: "http://localhost:3000/events", Timeout: 10 * time.Second, Attempts: 3}
		},
		Users: func(_ context.Context, _ string, portal int64) ([]string, error) { return w.users(portal) },
	})
}

func (w *world) put(id string, portal int64, lane string) {
	w.t.Helper()
	m := webhookqueue.Message{
		ID: id, App: "hbdev", Portal: portal, Lane: lane, ReceivedAt: time.Now(),
		Events: []webhookqueue.Event{{JSON: []byte(`{"n": 1}`)}, {JSON: []byte(`"` + id + `"`)}},
	}
	if _, err := w.queue.Put(w.t.Context(), []webhookqueue.Message{m}); err != nil {
		w.t.Fatal(err)
	}
}

// run delivers for a time.
func (w *world) run(d time.Duration) {
	e := w.start()
	time.Sleep(d)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e.Close(ctx)
}

func (w *world) wantStats(waiting, dead int) {
	w.t.Helper()
	if s, err := w.queue.Stats(w.t.Context()); err != nil || s.Waiting != waiting || s.Dead != dead {
		w.t.Errorf("the queue has %d waiting and %d dead, %v; want %d and %d", s.Waiting, s.Dead, err, waiting, dead)
	}
}

func TestDelivery(t *testing.T) {
	inWorld(t, func(w *world) {
		w.users = func(int64) ([]string, error) { return []string{"a,b/c", "d+e@f é"}, nil }
		w.put("id-1", 62515, "")
		w.run(time.Second)
		if len(w.requests) != 1 {
			t.Fatalf("there were %d requests; want one", len(w.requests))
		}
		r := w.requests[0]
		if r.Method != "POST" || r.URL.String() != "http://localhost:3000/events" || r.body != `[{"n": 1},"id-1"]` {
			t.Errorf("%s %s %s; want the events posted", r.Method, r.URL, r.body)
		}
		want := http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"caddy-hubspot"},
			"X-Hubspot-Delivery": {"id-1"}, "X-Hubspot-Attempt": {"1"}, "X-Hubspot-App": {"hbdev"},
			"X-Hubspot-Portal": {"62515"}, "X-Hubspot-Users": {"a%2Cb%2Fc,d%2Be@f%20%C3%A9"},
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("header %v; want %v", r.Header, want)
		}
		w.wantStats(0, 0)
		if w.results[webhookdelivery.Delivered] != 2 || w.unknown != 0 {
			t.Errorf("results %v, %d unknown; want 2 events delivered", w.results, w.unknown)
		}
	})
}

// What is neither an array nor one portal's goes as it came.
func TestDeliveryOfOtherBodies(t *testing.T) {
	inWorld(t, func(w *world) {
		m := webhookqueue.Message{ID: "raw", App: "hbdev", ReceivedAt: time.Now(), Body: []byte("\x00no JSON"), ContentType: "text/plain"}
		if _, err := w.queue.Put(w.t.Context(), []webhookqueue.Message{m}); err != nil {
			t.Fatal(err)
		}
		w.run(time.Second)
		r := w.requests[0]
		if r.body != "\x00no JSON" || r.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%q as %s was delivered; want what came", r.body, r.Header.Get("Content-Type"))
		}
		for _, name := range []string{webhookdelivery.HeaderPortal, webhookdelivery.HeaderUsers} {
			if r.Header.Values(name) != nil {
				t.Errorf("there is a header %s", name)
			}
		}
	})
}

// Each attempt has the number after the one before and waits twice as long; the
// last makes a dead letter. A redirect is a failure like any other.
func TestAttempts(t *testing.T) {
	inWorld(t, func(w *world) {
		statuses := []int{500, 302, 404}
		w.answer = func(*http.Request) (int, error) {
			return statuses[(len(w.requests)-1)%3], nil
		}
		w.put("id-1", 1, "")
		w.run(time.Minute)
		if len(w.requests) != 3 {
			t.Fatalf("there were %d requests; want 3", len(w.requests))
		}
		for i, r := range w.requests {
			if got := r.Header.Get("X-Hubspot-Attempt"); got != fmt.Sprint(i+1) || r.URL.Host != "localhost:3000" {
				t.Errorf("request %d is attempt %s at %s", i+1, got, r.URL.Host)
			}
		}
		for i, want := range []time.Duration{time.Second, 2 * time.Second} {
			if got := w.requests[i+1].at.Sub(w.requests[i].at); got < want*4/5 || got > want*6/5+time.Second/10 {
				t.Errorf("the wait after attempt %d was %v; want about %v", i+1, got, want)
			}
		}
		w.wantStats(0, 1)
		dead, err := w.queue.List(w.t.Context(), true, "", 10)
		if err != nil || len(dead) != 1 || dead[0].Attempts != 3 || dead[0].LastStatus != 404 {
			t.Errorf("dead letters: %+v, %v; want one with 3 attempts, the last answered 404", dead, err)
		}
		w.answer = nil
		if err := w.queue.Retry(w.t.Context(), "id-1"); err != nil {
			t.Fatal(err)
		}
		w.run(time.Second)
		r := w.requests[3]
		if r.Header.Get("X-Hubspot-Attempt") != "1" || r.Header.Get("X-Hubspot-Delivery") != "id-1" {
			t.Errorf("the dead letter was sent again as %v; want attempt 1 of id-1", r.Header)
		}
		w.wantStats(0, 0)
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempts, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute,
	} {
		for range 100 {
			if got := webhookdelivery.Backoff(attempts); got < want*8/10 || got > want*12/10 {
				t.Errorf("Backoff(%d) = %v; want %v, give or take a fifth", attempts, got, want)
			}
		}
	}
}

// A portal at which the app behind hangs leaves the others alone.
func TestHangingPortal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.answer = func(r *http.Request) (int, error) {
			if r.Header.Get("X-Hubspot-Portal") == "1" {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}
			return 200, nil
		}
		for i := range 100 {
			w.put(fmt.Sprint("a", i), 1, "")
		}
		for i := range 100 {
			w.put(fmt.Sprint("b", i), int64(i+2), "portal")
		}
		e := w.start()
		time.Sleep(time.Second)
		w.mu.Lock()
		if got := w.results[webhookdelivery.Delivered]; got != 200 {
			t.Errorf("%d events of other portals were delivered; want 200", got)
		}
		w.mu.Unlock()
		// What hangs is given back with its number of attempts.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		e.Close(ctx)
		w.wantStats(100, 0)
		waiting, err := w.queue.List(w.t.Context(), false, "", 1)
		if err != nil || waiting[0].Attempts != 0 {
			t.Errorf("what was given back: %+v, %v; want no attempts", waiting, err)
		}
	})
}

func TestUnknownPortals(t *testing.T) {
	inWorld(t, func(w *world) {
		w.users = func(portal int64) ([]string, error) {
			if portal == 1 {
				return nil, nil
			}
			return nil, errors.New("the store is away")
		}
		w.put("a", 1, "")
		w.run(time.Second)
		if r := w.requests[0]; w.unknown != 1 || len(r.Header.Values("X-Hubspot-Users")) != 1 || r.Header.Get("X-Hubspot-Users") != "" {
			t.Errorf("%d unknown, header %v; want it counted, and no users", w.unknown, r.Header)
		}
		// Who the users are is not known: it waits.
		w.put("b", 2, "")
		w.run(time.Second / 2)
		if len(w.requests) != 1 {
			t.Errorf("there were %d requests; want none without the users", len(w.requests))
		}
		many := make([]string, 2000)
		for i := range many {
			many[i] = "user"
		}
		w.users = func(int64) ([]string, error) { return many, nil }
		w.run(5 * time.Second)
		if r := w.requests[1]; r.Header.Get("X-Hubspot-Users-Omitted") != "2000" || r.Header.Values("X-Hubspot-Users") != nil {
			t.Errorf("header %v; want the number of users only", r.Header)
		}
	})
}
