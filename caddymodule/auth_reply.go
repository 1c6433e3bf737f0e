package caddymodule

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// reply is what a browser gets: a redirect, a page, or the same as JSON
// where the client prefers that. The browser is answered here and no error
// goes up the chain of handlers, because Caddy would log it with the URL,
// which can hold a code and a state.
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
	allow   string
	cookies []*http.Cookie

	// What the log says beside.
	app   *hubApp
	user  string
	hubID int64
}

// redirectTo makes a reply that sends the browser elsewhere.
func redirectTo(outcome, location string) *reply {
	return &reply{outcome: outcome, status: http.StatusFound, location: location}
}

// about notes whom a reply concerns.
func (p *reply) about(app *hubApp, user string) *reply {
	p.app, p.user = app, user
	if p.problem != nil {
		p.problem.Context["app"] = []string{app.name}
	}
	return p
}

// withLink offers something to do next.
func (p *reply) withLink(url, text string) *reply {
	if url != "" {
		p.page.Link = &pageLink{URL: url, Text: text}
	}
	return p
}

// send writes the reply and its line in the log.
func (a *Auth) send(w http.ResponseWriter, r *http.Request, p *reply, begun time.Time) {
	protect(w.Header())
	for _, c := range p.cookies {
		http.SetCookie(w, c)
	}
	if p.allow != "" {
		w.Header().Set("Allow", p.allow)
	}
	switch {
	case p.location != "":
		// No body: it would repeat the address.
		w.Header().Set("Location", p.location)
		w.WriteHeader(p.status)
	case prefersJSON(r) && p.problem != nil:
		p.problem.ServeHTTP(w, r)
	case prefersJSON(r):
		writeJSON(w, r, p.status, p.json)
	default:
		a.sendPage(w, r, p)
	}
	a.logReply(r, p, begun)
}

func (a *Auth) sendPage(w http.ResponseWriter, r *http.Request, p *reply) {
	if p.problem != nil {
		p.page.Reference = p.problem.CorrelationID
		if p.problem.RetryAfter > 0 {
			w.Header().Set("Retry-After", retryAfterSeconds(p.problem.RetryAfter))
		}
	}
	body, err := p.page.render()
	if err != nil {
		a.logger.Error("rendering page", zap.Error(err))
		p.status = http.StatusInternalServerError
	}
	writeBody(w, r, p.status, "text/html; charset=utf-8", body)
}

// writeJSON answers a program.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, content any) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	// A link is to be copied as it stands; nosniff keeps browsers from
	// taking it for HTML.
	encoder.SetEscapeHTML(false)
	// Only our own structs of strings, numbers and times are written.
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

// logReply writes what the access log must not have: the request without its
// query and the answer without its headers.
func (a *Auth) logReply(r *http.Request, p *reply, begun time.Time) {
	level, more := answerLevel(p.status), zap.Skip()
	if level == zap.InfoLevel && (p.problem != nil || p.outcome == outcomeSignIn) {
		// Anybody can cause these.
		level, more = a.strangers.level(level)
	}
	line := a.logger.Check(level, "install step answered")
	if line == nil {
		return
	}
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	fields := []zap.Field{
		zap.String("outcome", p.outcome), zap.Int("status", p.status), zap.String("path", r.URL.Path),
		zap.String("client_ip", client), zap.Duration("duration", time.Since(begun)), more,
	}
	if p.app != nil {
		fields = append(fields, zap.String("app", p.app.name))
		if p.user != "" {
			fields = append(fields, zap.String("user_tag", p.app.manager.Tag(r.Context(), p.user)))
		}
	}
	if p.hubID != 0 {
		fields = append(fields, zap.Int64("hub_id", p.hubID))
	}
	if p.problem != nil {
		fields = append(fields, zap.String("correlation_id", p.problem.CorrelationID))
		if cause := p.problem.Unwrap(); cause != nil {
			fields = append(fields, zap.Error(cause))
		}
	}
	line.Write(fields...)
}

// answerLevel is how much attention an answer wants: what the client did
// wrong is no warning.
func answerLevel(status int) zapcore.Level {
	if status >= http.StatusInternalServerError {
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}
