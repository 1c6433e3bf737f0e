package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// putTimeout is how long a queue may take. HubSpot waits five seconds for the
// answer, the way to it and back included.
const putTimeout = 4 * time.Second

// What came of a request, beside the Reasons for which it was refused.
const (
	resultPassed = "passed"
	resultQueued = "queued"
	resultFull   = "full"
	resultFailed = "failed"
)

// Results are all that can come of a request, with a queue or without.
func Results(queued bool) []string {
	results := []string{resultPassed, resultFailed}
	if queued {
		results = []string{resultQueued, resultFull, resultFailed}
	}
	for _, reason := range Reasons {
		results = append(results, string(reason))
	}
	return results
}

// Observer is told what came. Its methods must be quick and safe for concurrent
// use.
type Observer interface {
	// Received is told of a request and what came of it: one of [Results].
	Received(app, result string)
	// Queued is told of events that were stored, and of those that were known.
	Queued(app string, events, duplicates int)
}

// Putter is the side of a [webhookqueue.Queue] on which messages go in.
type Putter interface {
	Put(ctx context.Context, messages []webhookqueue.Message) (webhookqueue.Receipt, error)
}

// Intake takes in what HubSpot sends to one app. Its fields are set before the
// first use. It is safe for concurrent use.
type Intake struct {
	// Verifier checks requests. Required.
	Verifier *Verifier
	// Queue keeps what was verified. Nil hands it to the next handler.
	Queue Putter
	// Splitter makes messages for the queue.
	Splitter Splitter
	// Observer is told what comes. Required.
	Observer Observer
	// Logger is told what is refused. Required.
	Logger *slog.Logger
	// Level says at which level a line is logged that strangers can cause, and
	// how many before it were lowered. Nil is for the usual level.
	Level func(usual slog.Level) (level slog.Level, lowered int64)
	// StatusOf says how an error of the next handler is answered. Required
	// without a queue.
	StatusOf func(error) int
}

// Serve answers a request, or hands it to next and returns its error.
func (i *Intake) Serve(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	verified, err := i.Verifier.Verify(w, r)
	if err != nil {
		return i.refuse(w, r, err)
	}
	RemoveVerified(r)
	if i.Queue != nil {
		return i.queue(w, r, verified)
	}
	i.Observer.Received(i.Verifier.App, resultPassed)
	r.Header.Set(HeaderVerified, string(verified.Version))
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(verified.Body)), int64(len(verified.Body)), nil
	answer := &statusWriter{ResponseWriter: w}
	err = next(answer, r)
	status := answer.status
	if err != nil && status == 0 {
		status = i.StatusOf(err)
	}
	verified.Answered(status)
	return err
}

// refuse answers with an error of the sidecar's own; another is returned.
func (i *Intake) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	own, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		i.Observer.Received(i.Verifier.App, resultFailed)
		return err
	}
	result, level := resultFailed, slog.LevelError
	if reason := ReasonOf(err); reason != "" {
		result = string(reason)
	}
	if own.SubCategory != apierror.StoreUnavailable {
		// Whoever knows the address can send something, or break off.
		level = slog.LevelInfo
	}
	var lowered int64
	if level == slog.LevelInfo && i.Level != nil {
		level, lowered = i.Level(level)
	}
	i.Observer.Received(i.Verifier.App, result)
	i.Logger.Log(r.Context(), level, "a webhook was not taken", "app", i.Verifier.App, "reason", result,
		"correlation_id", own.CorrelationID, "error", own.Error(), "lowered", lowered)
	own.ServeHTTP(w, r)
	return nil
}

// queue answers as soon as the queue has what was sent.
func (i *Intake) queue(w http.ResponseWriter, r *http.Request, verified *Verified) error {
	messages := i.Splitter.Messages(verified.Body, r.Header.Get("Content-Type"), time.Now())
	ctx, cancel := context.WithTimeout(r.Context(), putTimeout)
	defer cancel()
	receipt, err := i.Queue.Put(ctx, messages)
	if err == nil {
		i.Observer.Received(i.Verifier.App, resultQueued)
		i.Observer.Queued(i.Verifier.App, receipt.Events, receipt.Duplicates)
		verified.Answered(http.StatusNoContent)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	result, sub, text := resultFailed, apierror.StoreUnavailable, "The queue of webhooks cannot be written at present. Send it again later."
	if errors.Is(err, webhookqueue.ErrFull) {
		result, sub, text = resultFull, apierror.TooBusy, "The queue of webhooks is full. Send it again later."
	}
	i.Observer.Received(i.Verifier.App, result)
	own := apierror.Wrap(sub, text, err)
	own.Context = map[string][]string{"app": {i.Verifier.App}}
	verified.Answered(own.Status)
	i.Logger.Error("a webhook could not be queued", "app", i.Verifier.App, "correlation_id", own.CorrelationID, "error", err)
	own.ServeHTTP(w, r)
	return nil
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
