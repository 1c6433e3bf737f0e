// Package install takes one browser through an install: from the application
// or HubSpot's marketplace to HubSpot's consent page, back with a code, and on
// to where it came from. It answers the browser itself, with redirects and
// pages. What callers ask for is in package callerapi.
package install

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// DefaultRate is how many requests a client may make if that is not set.
var DefaultRate = appconfig.Rate{Count: 30, Per: time.Minute}

// Config is what an [Installer] goes by.
type Config struct {
	// Desk is required. Apps are those it knows, sorted by name.
	Desk *admission.Desk
	Apps []*hubapp.App
	// Base is the path below which the endpoints are.
	Base Base
	// User is where a browser's session says whose it is. With the zero
	// value browsers cannot start an install.
	User userid.Source
	// SignIn is where a browser without a session is sent; nil is nowhere. It
	// is of use with User only.
	SignIn *url.URL
	// ReturnTo is where a browser may be sent after an install.
	ReturnTo ReturnList
	// Rate limits the requests of one client address; zero is [DefaultRate].
	Rate appconfig.Rate
	// Logger is required.
	Logger *slog.Logger
	// ClientIP returns a client's address, proxies regarded that are trusted,
	// and the zero address if that is not known. Required.
	ClientIP func(*http.Request) netip.Addr
	// OriginalURL returns the URL of a request as the client sent it. nil is
	// that of the request.
	OriginalURL func(*http.Request) *url.URL
	// SkipAccessLog keeps a request out of the access log, because its URL
	// or its answer holds a secret; nil where there is none.
	SkipAccessLog func(*http.Request)
	// Audit gets a line for each install that came back, done or failed; nil
	// without an audit log.
	Audit *audit.Log
	// Failed is told of each install that failed although its state could be
	// read: the app, and in a word why. It must not block. nil tells nobody.
	Failed func(app, reason string)
}

// Installer answers browsers. It is safe for concurrent use.
type Installer struct {
	config    Config
	sessions  bool
	callbacks callbacks
	limiter   *clientLimiter
	logLimit  admission.LogLimit
}

// New makes an Installer. Its error names the app whose settings do not fit.
func New(c Config) (*Installer, error) {
	if c.OriginalURL == nil {
		c.OriginalURL = func(r *http.Request) *url.URL { return r.URL }
	}
	if c.SkipAccessLog == nil {
		c.SkipAccessLog = func(*http.Request) {}
	}
	if c.Failed == nil {
		c.Failed = func(_, _ string) {}
	}
	callbacks, err := newCallbacks(c.Base, c.Apps)
	if err != nil {
		return nil, err
	}
	return &Installer{
		config: c, sessions: !c.User.IsZero(), callbacks: callbacks, limiter: newClientLimiter(c.Rate.Or(DefaultRate)),
	}, nil
}

// Handle answers a request if it is for one of the endpoints for browsers, and
// reports whether it was.
func (i *Installer) Handle(w http.ResponseWriter, r *http.Request) bool {
	v := &visit{Installer: i, w: w, r: r, begun: time.Now(), client: i.config.ClientIP(r)}
	seen := i.config.OriginalURL(r)
	if t, ok := i.callbacks.find(r, seen); ok {
		// Its URL has the code and the state.
		i.config.SkipAccessLog(r)
		v.serve(t.app, func() (*reply, error) { return v.callback(t) })
		return true
	}
	path := i.config.Base.Find(r.URL)
	if app, ok := i.config.Desk.App(path.App); ok && path.Endpoint == EndpointConnect {
		v.serve(app, func() (*reply, error) { return v.connect(app) })
		return true
	}
	if t, ok := i.callbacks.findStripped(seen); ok && path.Endpoint == EndpointNone && fromHubSpot(r) {
		i.config.SkipAccessLog(r)
		v.serve(t.app, func() (*reply, error) { return v.misdirected(t) })
		return true
	}
	if app := i.strippedConnect(seen); app != nil && path.Endpoint == EndpointNone && r.Method == http.MethodGet && wantsPage(r) {
		v.serve(app, func() (*reply, error) {
			return nil, refusedMisdirected.because(errors.New("the path is a part of that at which installs begin: the proxy in front has to pass the whole path"))
		})
		return true
	}
	return false
}

// visit is one request of a browser, and what is known of it by now.
type visit struct {
	*Installer
	w      http.ResponseWriter
	r      *http.Request
	begun  time.Time
	client netip.Addr

	app *hubapp.App
	// user is whom the install is for; empty if that is not known yet.
	user  string
	hubID int64
	// cookies go with whatever is answered.
	cookies []*http.Cookie
	// begunHere is set once the state of an install could be read.
	begunHere bool
	// back is where the browser came from and may be sent again; zero for
	// nowhere.
	back address
	// again is where a new install can be begun; empty if it cannot.
	again string
}

// serve answers with what step returns, unless the request is refused before.
// The browser is answered here and no error goes up a chain of handlers, which
// would log it with the URL.
func (v *visit) serve(app *hubapp.App, step func() (*reply, error)) {
	v.app = app
	var p *reply
	err := v.guard()
	if err == nil {
		p, err = step()
	}
	if err != nil {
		p = v.refuse(err)
	}
	v.record(p)
	v.send(p)
}

// record puts the end of an install into the audit log. Requests whose state
// could not be read have no line: anybody can make them.
func (v *visit) record(p *reply) {
	if v.config.Audit == nil || !v.begunHere {
		return
	}
	entry := audit.Entry{Kind: audit.KindInstall, App: v.app.Name, Portal: v.hubID, Method: http.MethodGet, Status: p.status}
	if p.outcome != outcomeConnected {
		entry.Error = p.outcome
	}
	if v.user != "" {
		entry.User, entry.Tagger = v.user, v.app.Manager
	}
	v.config.Audit.Record(entry)
}

// refuse makes an answer of why an install does not go on. One that has begun
// goes back to where its browser came from.
func (v *visit) refuse(err error) *reply {
	f := failureOf(err)
	f.problem.Context["app"] = []string{v.app.Name}
	p := f.reply()
	if v.begunHere {
		v.config.Failed(v.app.Name, f.word())
	}
	switch {
	case v.begunHere && v.back != (address{}) && f.reason != "":
		p.status = http.StatusFound
		p.location = v.back.with(returnParams, "hubspot", "failed", "app", v.app.Name, "reason", f.reason).String()
	case v.back != (address{}):
		p.page.Link = &pageLink{v.back.String(), "Back to the application"}
	case v.again != "" && !f.final:
		p.page.Link = &pageLink{v.again, "Start again"}
	}
	return p
}

// returnParams are what an address to return to is told. What it had of these
// names before is not ours, or is old.
var returnParams = []string{"hubspot", "app", "reason"}
