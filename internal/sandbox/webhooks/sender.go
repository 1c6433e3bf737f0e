// Package webhooks sends what happens in the sandbox's CRM to apps, as HubSpot does:
// up to a hundred events in one request, signed, and again until it is answered with
// 2xx in time.
package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// What HubSpot does (its API guide, "Webhooks"): it waits five seconds for an
// answer and tries ten times more; that takes it a day, and the sandbox minutes.
const (
	maxBatch      = 100
	answerTimeout = 5 * time.Second
	maxRetries    = 10
	firstWait     = time.Second
	longestWait   = time.Minute
	// maxInFlight is how many requests are under way to an app.
	maxInFlight = 10
	// maxWaiting is how many batches wait for that; what is more is dropped.
	maxWaiting = 10_000
)

// Event is what HubSpot tells of an object. The fields that are not about what
// happened are filled in by [Sender.Send].
type Event struct {
	EventID          int64  `json:"eventId"`
	SubscriptionID   int64  `json:"subscriptionId"`
	PortalID         int64  `json:"portalId"`
	AppID            int64  `json:"appId"`
	OccurredAt       int64  `json:"occurredAt"`
	SubscriptionType string `json:"subscriptionType"`
	AttemptNumber    int    `json:"attemptNumber"`
	ObjectID         int64  `json:"objectId"`
	PropertyName     string `json:"propertyName,omitempty"`
	PropertyValue    string `json:"propertyValue,omitempty"`
	ChangeSource     string `json:"changeSource"`
	ChangeFlag       string `json:"changeFlag,omitempty"`
	SourceID         string `json:"sourceId,omitempty"`
}

// Target is an app that is told.
type Target struct {
	// URL is what is called. Empty: the app is told nothing.
	URL string `json:"target_url"`
	// AppID and Secret are the app's.
	AppID  int64       `json:"-"`
	Secret secret.Text `json:"-"`
}

// Fault is what goes wrong with the next requests.
type Fault struct {
	// Duplicate sends each request twice.
	Duplicate bool `json:"duplicate,omitempty"`
	// WrongSignature signs with another secret.
	WrongSignature bool `json:"wrong_signature,omitempty"`
	// Late signs six minutes before sending, which is too long ago.
	Late bool `json:"late,omitempty"`
	// Times is how many requests it is for; 0 is all, until faults are cleared.
	Times int `json:"times,omitempty"`
}

// Stats count requests.
type Stats struct {
	Sent   int `json:"sent"`
	Failed int `json:"failed"`
	// Waiting counts batches that are to be sent, again or at all.
	Waiting int `json:"waiting"`
	// Dropped counts those that were sent too often, or were too many.
	Dropped int `json:"dropped"`
}

// Sender sends events. Make one with [New]. It is safe for concurrent use.
type Sender struct {
	now    func() time.Time
	client http.Client
	ctx    context.Context
	cancel context.CancelFunc
	places chan struct{}
	work   sync.WaitGroup

	mu      sync.Mutex
	targets map[string]Target
	fault   *Fault
	stats   Stats
	lastID  int64
	closed  bool
}

// New makes a Sender that knows no apps yet.
func New(now func() time.Time, transport http.RoundTripper) *Sender {
	s := &Sender{now: now, places: make(chan struct{}, maxInFlight), targets: make(map[string]Target)}
	s.client = http.Client{
		Transport: transport, Timeout: answerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// CheckURL refuses what cannot be called.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("is not an address such as http://localhost:8080/hubspot/webhooks")
	}
	return nil
}

// Tell sets where an app is told of events.
func (s *Sender) Tell(clientID string, t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[clientID] = t
}

// Targets are where apps are told, by client id.
func (s *Sender) Targets() map[string]Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Target, len(s.targets))
	for id, t := range s.targets {
		if t.URL != "" {
			out[id] = t
		}
	}
	return out
}

// SetFault has something go wrong; nil ends it.
func (s *Sender) SetFault(f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Stats says what was sent.
func (s *Sender) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close stops sending, and waits for requests under way, which end.
func (s *Sender) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
}

// Send sends events to an app, if it is told of any.
func (s *Sender) Send(clientID string, events []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target := s.targets[clientID]
	if target.URL == "" || s.closed {
		return
	}
	filled := make([]Event, len(events))
	for i, e := range events {
		s.lastID++
		e.EventID, e.AppID, e.OccurredAt = s.lastID, target.AppID, s.now().UnixMilli()
		e.SubscriptionID = subscriptionID(e.SubscriptionType, e.PropertyName)
		filled[i] = e
	}
	for len(filled) > 0 {
		batch := filled[:min(maxBatch, len(filled))]
		filled = filled[len(batch):]
		if s.stats.Waiting >= maxWaiting {
			s.stats.Dropped++
			continue
		}
		s.stats.Waiting++
		s.work.Go(func() { s.deliver(target, batch) })
	}
}

// subscriptionID is stable, and another for each type and property.
func subscriptionID(kind, property string) int64 {
	n := int64(0)
	for _, c := range kind + " " + property {
		n = (n*31 + int64(c)) % 900_000
	}
	return 100_000 + n
}

// deliver sends a batch until it is answered with 2xx, or has been sent too often.
func (s *Sender) deliver(target Target, batch []Event) {
	delivered := false
	for attempt := 0; attempt <= maxRetries && !delivered; attempt++ {
		if attempt > 0 {
			wait := min(firstWait<<(attempt-1), longestWait)
			if !s.sleep(wait + time.Duration(rand.Int64N(int64(wait/4)))) {
				break
			}
		}
		for i := range batch {
			batch[i].AttemptNumber = attempt
		}
		delivered = s.try(target, batch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Waiting--
	if !delivered {
		s.stats.Dropped++
	}
}

func (s *Sender) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// try makes one request, or two where a fault says so.
func (s *Sender) try(target Target, batch []Event) bool {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-s.ctx.Done():
		return false
	}
	fault := s.takeFault()
	body, err := json.Marshal(batch)
	if err != nil {
		return false
	}
	err = s.post(target, body, fault)
	if fault.Duplicate {
		// Signed anew: the very same request would be a replay.
		if again := s.post(target, body, fault); err == nil {
			err = again
		}
	}
	return err == nil
}

func (s *Sender) takeFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		return Fault{}
	}
	f := *s.fault
	if f.Times > 0 {
		if s.fault.Times--; s.fault.Times == 0 {
			s.fault = nil
		}
	}
	return f
}

func (s *Sender) post(target Target, body []byte, fault Fault) error {
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, target.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at, key := s.now(), target.Secret
	if fault.Late {
		at = at.Add(-6 * time.Minute)
	}
	if fault.WrongSignature {
		key = secret.New("not-the-secret-of-the-app")
	}
	signed := hubspot.Signed{Method: r.Method, URL: hubspot.DecodeSignedURL(target.URL), Body: body, Timestamp: strconv.FormatInt(at.UnixMilli(), 10)}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "HubSpot Connect 2.0 (sandbox)")
	hubspot.SignHeader(r.Header, signed, key)
	// HubSpot still sends the older one beside it.
	r.Header.Set(hubspot.HeaderSignatureVersion, string(hubspot.SignatureV1))
	r.Header.Set(hubspot.HeaderSignature, signed.Sign(hubspot.SignatureV1, key))
	response, err := s.client.Do(r)
	if err == nil {
		_ = response.Body.Close()
		if response.StatusCode/100 != 2 {
			err = fmt.Errorf("answered %d", response.StatusCode)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Sent++
	if err != nil {
		s.stats.Failed++
	}
	return err
}
