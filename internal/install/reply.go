package install

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// reply is what a browser gets: a redirect, a page, or the same as JSON where
// the client prefers that.
type reply struct {
	// outcome says in a word what happened, for the log and for programs.
	outcome string
	status  int
	// location makes it a redirect.
	location string
	page     page
	// json is what is sent instead of the page. Where problem is set, that is.
	json    any
	problem *apierror.Error
}

// redirectTo makes a reply that sends the browser elsewhere.
// outcomeConnected is that of an install that is done.
const outcomeConnected = "connected"

func redirectTo(outcome, location string) *reply {
	return &reply{outcome: outcome, status: http.StatusFound, location: location}
}

// send writes the reply and its line in the log.
func (v *visit) send(p *reply) {
	h := v.w.Header()
	protect(h)
	for _, c := range v.cookies {
		http.SetCookie(v.w, c)
	}
	if p.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodGet)
	}
	switch {
	case p.location != "":
		// No body: it would repeat the address.
		h.Set("Location", p.location)
		v.w.WriteHeader(p.status)
	case prefersJSON(v.r) && p.problem != nil:
		p.problem.ServeHTTP(v.w, v.r)
	case prefersJSON(v.r):
		WriteJSON(v.w, v.r, p.status, p.json)
	default:
		v.sendPage(v.w, v.r, p)
	}
	v.log(p)
}

func (i *Installer) sendPage(w http.ResponseWriter, r *http.Request, p *reply) {
	if p.problem != nil {
		p.page.Reference = p.problem.CorrelationID
		if p.problem.RetryAfter > 0 {
			w.Header().Set("Retry-After", retryAfterSeconds(p.problem.RetryAfter))
		}
	}
	body, err := p.page.render()
	if err != nil {
		i.config.Logger.ErrorContext(r.Context(), "rendering page", slog.Any("error", err))
		p.status = http.StatusInternalServerError
	}
	writeBody(w, r, p.status, "text/html; charset=utf-8", body)
}

// WriteJSON answers a program. content is a struct of strings, numbers and
// times.
func WriteJSON(w http.ResponseWriter, r *http.Request, status int, content any) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	// A link is to be copied as it stands; nosniff keeps browsers from
	// taking it for HTML.
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(content)
	writeBody(w, r, status, "application/json; charset=utf-8", out.Bytes())
}

func writeBody(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// A client that is gone cannot be told.
		_, _ = w.Write(body)
	}
}

// log writes what the access log must not have: the request without its query
// and the answer without its headers.
func (v *visit) log(p *reply) {
	ctx := v.r.Context()
	level, lowered := AnswerLevel(p.status), int64(0)
	if level == slog.LevelInfo && (p.problem != nil || p.outcome == outcomeSignIn) {
		// Anybody can cause these.
		level, lowered = v.logLimit.Level("", level)
	}
	if !v.config.Logger.Enabled(ctx, level) {
		return
	}
	client := ""
	if v.client.IsValid() {
		client = v.client.String()
	}
	fields := []slog.Attr{
		slog.String("outcome", p.outcome), slog.Int("status", p.status), slog.String("path", v.r.URL.Path),
		slog.String("client_ip", client), slog.Duration("duration", time.Since(v.begun)),
	}
	if lowered > 0 {
		fields = append(fields, slog.Int64("more_at_debug_level", lowered))
	}
	fields = append(fields, v.about(ctx)...)
	if p.problem != nil {
		fields = append(fields, slog.String("correlation_id", p.problem.CorrelationID))
		if cause := p.problem.Unwrap(); cause != nil {
			fields = append(fields, slog.Any("error", cause))
		}
	}
	v.config.Logger.LogAttrs(ctx, level, "install step answered", fields...)
}

// about are the log's fields of whom a visit concerns.
func (v *visit) about(ctx context.Context) []slog.Attr {
	fields := []slog.Attr{slog.String("app", v.app.Name)}
	if v.user != "" {
		fields = append(fields, slog.String("user_tag", v.app.Manager.Tag(ctx, v.user)))
	}
	if v.hubID != 0 {
		fields = append(fields, slog.Int64("hub_id", v.hubID))
	}
	return fields
}

// AnswerLevel is how much attention an answer wants: what the client did wrong
// is no warning.
func AnswerLevel(status int) slog.Level {
	if status >= http.StatusInternalServerError {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// ForPrograms is the answer to a browser that was led to an endpoint for
// callers. It is nil for a request that is not one of a browser, or that brings
// a key. cause is why it was refused as a caller.
func ForPrograms(r *http.Request, cause error) error {
	if !wantsPage(r) {
		return nil
	}
	return refusedPrograms.because(cause)
}

// ServePage answers a browser with the page of err, which is one of
// [ForPrograms]. app is nil if it is not known.
func (i *Installer) ServePage(w http.ResponseWriter, r *http.Request, app *hubapp.App, err error) {
	p := failureOf(err).reply()
	if app != nil {
		if start := i.connectPath(r, app); start != "" {
			p.page.Link = &pageLink{start, "Connect to HubSpot"}
		}
	}
	protect(w.Header())
	i.sendPage(w, r, p)
}

// wantsPage reports whether a request is one of a browser that shows its answer
// to a person, and brings no key.
func wantsPage(r *http.Request) bool {
	return len(r.Header["Authorization"]) == 0 && prefersHTML(r)
}
