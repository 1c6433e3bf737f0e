package webhooks_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/webhooks"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

var key = secret.New("the-secret-of-the-app")

// app is who is told.
type app struct {
	mu       sync.Mutex
	received []received
	answer   func(n int) (int, error)
}

type received struct {
	events []webhooks.Event
	signed bool
	age    time.Duration
}

func (a *app) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ms, _ := strconv.ParseInt(r.Header.Get(hubspot.HeaderTimestamp), 10, 64)
	signed := hubspot.Signed{Method: r.Method, URL: "http://app.localhost/hooks", Body: body, Timestamp: r.Header.Get(hubspot.HeaderTimestamp)}
	_, ok := signed.SignedWith(hubspot.SignatureV3, r.Header.Get(hubspot.HeaderSignatureV3), key)
	got := received{signed: ok, age: time.Since(time.UnixMilli(ms)).Round(time.Second)}
	if err := json.Unmarshal(body, &got.events); err != nil {
		return nil, err
	}
	a.received = append(a.received, got)
	status, err := 204, error(nil)
	if a.answer != nil {
		status, err = a.answer(len(a.received))
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: http.NoBody}, nil
}

// inBubble runs a test with a sender that tells an app.
func inBubble(t *testing.T, test func(t *testing.T, s *webhooks.Sender, a *app)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := new(app)
		s := webhooks.New(time.Now, a)
		s.Tell("client", webhooks.Target{URL: "http://app.localhost/hooks", AppID: 54321, Secret: key})
		test(t, s, a)
		s.Close()
	})
}

func TestBatchesAreSignedAndHaveAHundredEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, s *webhooks.Sender, a *app) {
		events := make([]webhooks.Event, 250)
		for i := range events {
			events[i] = webhooks.Event{PortalID: 1, ObjectID: int64(i), SubscriptionType: "contact.creation"}
		}
		s.Send("client", events)
		s.Send("another", events)
		synctest.Wait()
		ids, n := make(map[int64]bool), 0
		for _, r := range a.received {
			if !r.signed || r.age != 0 || len(r.events) > 100 {
				t.Errorf("a request of %d events, signed %t, %v ago", len(r.events), r.signed, r.age)
			}
			for _, e := range r.events {
				ids[e.EventID] = true
				if e.AppID != 54321 || e.SubscriptionID == 0 || e.OccurredAt != time.Now().UnixMilli() {
					t.Errorf("the event is %+v", e)
				}
				n++
			}
		}
		if len(a.received) != 3 || n != 250 || len(ids) != 250 {
			t.Errorf("%d requests with %d events, %d ids; want 3 with 250", len(a.received), n, len(ids))
		}
	})
}

// What is not answered with 2xx comes again, and says how often it has; not for
// ever.
func TestRetries(t *testing.T) {
	inBubble(t, func(t *testing.T, s *webhooks.Sender, a *app) {
		a.answer = func(n int) (int, error) {
			switch n {
			case 1:
				return 500, nil
			case 2:
				return 0, errors.New("broken")
			case 3:
				return 302, nil
			}
			return 200, nil
		}
		s.Send("client", []webhooks.Event{{ObjectID: 1}})
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(a.received) != 4 || a.received[3].events[0].AttemptNumber != 3 || a.received[3].events[0].EventID != a.received[0].events[0].EventID {
			t.Errorf("received %+v; want the same event four times", a.received)
		}
		a.answer = func(int) (int, error) { return 404, nil }
		s.Send("client", []webhooks.Event{{ObjectID: 2}})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := s.Stats(); len(a.received) != 15 || got != (webhooks.Stats{Sent: 15, Failed: 14, Dropped: 1}) {
			t.Errorf("%d requests, %+v; want 11 more, and then none", len(a.received), got)
		}
	})
}

func TestFaults(t *testing.T) {
	inBubble(t, func(t *testing.T, s *webhooks.Sender, a *app) {
		send := func() {
			s.Send("client", []webhooks.Event{{ObjectID: 1}})
			synctest.Wait()
		}
		s.SetFault(&webhooks.Fault{Duplicate: true, Times: 1})
		send()
		send()
		if len(a.received) != 3 {
			t.Errorf("%d requests; want the first twice", len(a.received))
		}
		s.SetFault(&webhooks.Fault{WrongSignature: true})
		send()
		s.SetFault(&webhooks.Fault{Late: true})
		send()
		s.SetFault(nil)
		send()
		for i, want := range []received{{signed: false}, {signed: true, age: 6 * time.Minute}, {signed: true}} {
			if got := a.received[3+i]; got.signed != want.signed || got.age != want.age {
				t.Errorf("request %d: signed %t, %v ago; want %t, %v", i, got.signed, got.age, want.signed, want.age)
			}
		}
	})
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "localhost:3000", "/w", "ftp://a/", "http://", "http://a:b@c/", "http://a/#b"} {
		if webhooks.CheckURL(text) == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if err := webhooks.CheckURL("https://app.example.com/w?a=" + strings.Repeat("1", 9)); err != nil {
		t.Error(err)
	}
}
