package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// observed counts what an intake tells.
type observed map[string]int

func (o observed) Received(_, result string) { o[result]++ }

func (o observed) Queued(_ string, events, duplicates int) {
	o["events"] += events
	o["duplicates"] += duplicates
}

// putter is a queue that answers the same to everything.
type putter struct {
	receipt webhookqueue.Receipt
	err     error
	got     []webhookqueue.Message
}

func (p *putter) Put(_ context.Context, messages []webhookqueue.Message) (webhookqueue.Receipt, error) {
	p.got = append(p.got, messages...)
	return p.receipt, p.err
}

func newIntake(queue webhook.Putter) (*webhook.Intake, observed) {
	o := make(observed)
	return &webhook.Intake{
		Verifier: newVerifier(), Queue: queue, Splitter: webhook.Splitter{App: "hbdev"}, Observer: o,
		Logger: slog.New(slog.DiscardHandler), StatusOf: func(error) int { return 502 },
	}, o
}

func TestVerifiedRequestsGoOn(t *testing.T) {
	t.Parallel()
	forged := strings.ReplaceAll("X-HUBSPOT-VERIFIED", "-", "_")
	i, o := newIntake(nil)
	r := signed(`[1]`, time.Now(), inUse)
	r.Header[forged] = []string{"v9"}
	w := httptest.NewRecorder()
	err := i.Serve(w, r, func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if string(body) != `[1]` || r.ContentLength != 3 || fmt.Sprint(r.Header["X-Hubspot-Verified"]) != "[v3]" || r.Header[forged] != nil {
			t.Errorf("body %q of %d, header %v, %v", body, r.ContentLength, r.Header, err)
		}
		w.WriteHeader(http.StatusTeapot)
		return nil
	})
	if err != nil || w.Code != http.StatusTeapot || o["passed"] != 1 {
		t.Errorf("answered %d, %v, counted %v; want the next handler's answer", w.Code, err, o)
	}
}

// After an answer of 5xx, or an error that becomes one, the same request is let in
// again; after any other it is a replay.
func TestAnswersDecideAboutReplays(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		err    error
		again  bool
	}{
		{200, nil, false}, {404, nil, false}, {0, nil, false}, {500, nil, true}, {0, errors.New("no upstream"), true},
		{103, errors.New("no upstream"), true},
	} {
		i, o := newIntake(nil)
		at := time.Now()
		for range 2 {
			_ = i.Serve(httptest.NewRecorder(), signed("[]", at, inUse), func(w http.ResponseWriter, _ *http.Request) error {
				if tc.status != 0 {
					w.WriteHeader(tc.status)
				}
				return tc.err
			})
		}
		if again := o["passed"] == 2; again != tc.again || !again && o["replay"] != 1 {
			t.Errorf("after %d, %v: %v; want it taken again: %t", tc.status, tc.err, o, tc.again)
		}
	}
}

func TestQueuedRequests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		status int
		result string
	}{
		{nil, 204, "queued"},
		{fmt.Errorf("putting: %w", webhookqueue.ErrFull), 503, "full"},
		{webhookqueue.ErrUnavailable, 503, "failed"},
		{context.DeadlineExceeded, 503, "failed"},
	} {
		queue := &putter{err: tc.err, receipt: webhookqueue.Receipt{Events: 1, Duplicates: 2}}
		i, o := newIntake(queue)
		at := time.Now()
		w := httptest.NewRecorder()
		never := func(http.ResponseWriter, *http.Request) error { t.Error("the next handler was asked"); return nil }
		if err := i.Serve(w, signed("[1,2]", at, inUse), never); err != nil || w.Code != tc.status || o[tc.result] != 1 {
			t.Errorf("%v: answered %d, %v, counted %v; want %d", tc.err, w.Code, err, o, tc.status)
		}
		if len(queue.got) != 1 || len(queue.got[0].Events) != 2 {
			t.Errorf("the queue got %v; want one message with two events", queue.got)
		}
		if tc.err == nil && (o["events"] != 1 || o["duplicates"] != 2) {
			t.Errorf("counted %v; want what the queue has said", o)
		}
		// What was not stored comes again.
		w = httptest.NewRecorder()
		_ = i.Serve(w, signed("[1,2]", at, inUse), never)
		if replayed := o["replay"] == 1; replayed != (tc.err == nil) {
			t.Errorf("%v: sent again: %v", tc.err, o)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	i, o := newIntake(&putter{})
	r := signed("[]", time.Now().Add(-time.Hour), inUse)
	w := httptest.NewRecorder()
	if err := i.Serve(w, r, nil); err != nil || w.Code != 401 || o["timestamp"] != 1 {
		t.Errorf("answered %d, %v, counted %v; want 401 for its timestamp", w.Code, err, o)
	}
	foreign := errors.New("foreign")
	i.Verifier.Foreign = func(err error) bool { return errors.Is(err, foreign) }
	r = signed("[]", time.Now(), inUse)
	r.Body = io.NopCloser(errorReader{foreign})
	if err := i.Serve(httptest.NewRecorder(), r, nil); !errors.Is(err, foreign) {
		t.Errorf("error = %v; want the other handler's", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// What strangers can bring about is no error of the sidecar's.
func TestLevelsOfRefusals(t *testing.T) {
	t.Parallel()
	i, _ := newIntake(&putter{})
	var log bytes.Buffer
	i.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	i.Verifier.Large = webhook.NewLargeBodies(0)
	broken := signed("[]", time.Now(), inUse)
	broken.Body = io.NopCloser(errorReader{io.ErrUnexpectedEOF})
	large := signed(strings.Repeat("x", 100<<10), time.Now(), inUse)
	for want, r := range map[int]*http.Request{400: broken, 503: large} {
		w := httptest.NewRecorder()
		if err := i.Serve(w, r, nil); err != nil || w.Code != want {
			t.Errorf("answered %d, %v; want %d", w.Code, err, want)
		}
	}
	if text := log.String(); strings.Count(text, `"level":"INFO"`) != 2 || strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("the log has %s; want two lines of level INFO", text)
	}
}
