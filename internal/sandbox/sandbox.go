package sandbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/journal"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/webhooks"
)

// maxBody bounds what is read of a request body.
const maxBody = 32 << 20

// Sandbox is a fake HubSpot: an [http.Handler] for the root of a site. Make
// one with [New]; it may be used concurrently.
type Sandbox struct {
	opts Options
	// origins refuses what a browser sends on behalf of another site.
	origins *http.CrossOriginProtection
	formKey []byte
	world   atomic.Pointer[world]
}

// New returns a sandbox in its initial state: nothing installed but what
// [Options.StateFile] has kept, data seeded, no faults. It fails if an option
// is wrong, naming it.
func New(opts Options) (*Sandbox, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("checking sandbox options: %w", err)
	}
	s := &Sandbox{opts: opts, origins: http.NewCrossOriginProtection(), formKey: make([]byte, 32)}
	rand.Read(s.formKey) // never fails
	kept, err := loadState(opts.StateFile)
	if err != nil {
		return nil, err
	}
	first := newWorld(s)
	first.restore(kept)
	s.world.Store(first)
	return s, nil
}

// Reset puts the sandbox back into its initial state, with nothing installed,
// as POST /_sandbox/reset does. Requests under way finish on the old state.
func (s *Sandbox) Reset() {
	next := newWorld(s)
	last := s.world.Swap(next)
	last.auth.retire()
	last.webhooks.Close()
	next.auth.mu.Lock()
	defer next.auth.mu.Unlock()
	next.auth.keep()
}

// Close ends webhooks that are to be sent.
func (s *Sandbox) Close() { s.world.Load().webhooks.Close() }

// ServeHTTP answers a request as HubSpot would, if it comes from this
// machine. It panics with [http.ErrAbortHandler] where a fault says that the
// connection is to be cut.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "hubspot-sandbox")
	if why := refusal(r); why != "" {
		s.opts.Logger.LogAttrs(r.Context(), slog.LevelWarn, "sandbox refused a request",
			slog.String("remote", r.RemoteAddr))
		sandboxError(http.StatusForbidden, why).send(w)
		return
	}
	s.world.Load().serve(w, r)
}

// world is everything that a reset throws away. Its parts lock themselves.
type world struct {
	*Sandbox
	apps     map[string]*App
	portals  map[int64]*portal
	auth     *authority
	burst    *limiter
	search   *limiter
	faults   *faults
	stats    *stats
	journal  *journal.Journal
	webhooks *webhooks.Sender
	mux      *http.ServeMux
}

// portal is an account with its data, which is seeded when it is first used.
type portal struct {
	*Portal
	now    func() time.Time
	tables func() map[string]*table
}

func newWorld(s *Sandbox) *world {
	w := &world{
		Sandbox:  s,
		apps:     make(map[string]*App, len(s.opts.Apps)),
		portals:  make(map[int64]*portal, len(s.opts.Portals)),
		auth:     newAuthority(s.opts),
		burst:    newLimiter(s.opts.Quota, s.opts.Now, false),
		search:   newLimiter(s.opts.SearchQuota, s.opts.Now, true),
		faults:   new(faults),
		stats:    newStats(),
		journal:  journal.New(s.opts.Now),
		webhooks: webhooks.New(s.opts.Now, s.opts.WebhooksTransport),
	}
	w.auth.lived = func(g *grant, eventTypeID string) {
		w.journal.Happened(journal.Happening{
			ClientID: g.app.ClientID, AppID: g.app.AppID, HubID: g.portal.HubID, UserID: g.portal.UserID, EventTypeID: eventTypeID,
		})
	}
	for i := range s.opts.Apps {
		w.apps[s.opts.Apps[i].ClientID] = &s.opts.Apps[i]
	}
	w.tellApps("", s.opts.WebhooksURL)
	schema := newSchema(s.opts.CustomProperties)
	for i := range s.opts.Portals {
		p := &s.opts.Portals[i]
		tables := sync.OnceValue(func() map[string]*table { return seed(p, schema) })
		w.portals[p.HubID] = &portal{Portal: p, now: s.opts.Now, tables: tables}
	}
	w.mux = w.routes()
	return w
}

// serve dispatches. A path that is not in its shortest form is unknown to
// HubSpot; ServeMux would redirect it, which HubSpot does not.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	escaped := r.URL.EscapedPath()
	if escaped == echoPath || strings.HasPrefix(escaped, echoPath+"/") {
		w.endpoint(echoPath, w.echo)(rw, r)
		return
	}
	if clean := path.Clean(escaped); clean != escaped && clean+"/" != escaped {
		w.unknownPath(rw, r)
		return
	}
	w.mux.ServeHTTP(rw, r)
}

// endpoint runs a handler and writes, counts and logs its reply.
func (w *world) endpoint(name string, h handler) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		r = r.WithContext(withNotes(r.Context()))
		label := methodLabel(r.Method) + " " + name
		status := 0
		defer func() {
			w.stats.request(label, status)
			w.logRequest(r, label, status)
		}()
		r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
		answer := h(r)
		status = answer.status
		answer.send(rw)
	}
}

// methodLabel keeps made-up methods from growing the statistics.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return method
	}
	return "(other)"
}

// notes are what a handler learns about a request for the log line. They
// belong to the one goroutine that serves the request.
type notes struct {
	clientID string
	hubID    int64
	grant    string
}

type notesKey struct{}

func withNotes(ctx context.Context) context.Context {
	return context.WithValue(ctx, notesKey{}, new(notes))
}

func noted(r *http.Request) *notes { return r.Context().Value(notesKey{}).(*notes) }

// logRequest logs the route's name and never the URL: v1 URLs hold tokens,
// and the authorize URL holds a state.
func (w *world) logRequest(r *http.Request, label string, status int) {
	if !w.opts.Logger.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	n := noted(r)
	w.opts.Logger.LogAttrs(r.Context(), slog.LevelDebug, "sandbox request",
		slog.String("endpoint", label), slog.Int("status", status),
		slog.String("client_id", n.clientID), slog.Int64("hub_id", n.hubID), slog.String("grant", n.grant))
}

// grantEvent logs something that a request did to a grant, and notes the grant.
func (w *world) grantEvent(r *http.Request, g *grant, what string) {
	n := noted(r)
	n.hubID, n.grant = g.portal.HubID, g.id
	w.event(r.Context(), what,
		slog.String("client_id", g.app.ClientID), slog.Int64("hub_id", g.portal.HubID), slog.String("grant", g.id))
}

// event logs something that happened to a grant or to the sandbox.
func (w *world) event(ctx context.Context, what string, attrs ...slog.Attr) {
	w.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "sandbox: "+what, attrs...)
}
