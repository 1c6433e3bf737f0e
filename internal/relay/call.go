package relay

import (
	"context"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// Call is one request on its way to HubSpot and back. It belongs to the
// goroutine of the request.
type Call struct {
	relay *Relay
	// inbound is the request as the client sent it, and sent its target as it
	// came, before handlers in front have changed it.
	inbound *http.Request
	sent    string

	caller *access.Caller
	user   string
	// namedBy says what has named the user, for the error that something else
	// has named another.
	namedBy string
	// asApp is set for a call of the app itself, which has no user.
	asApp bool
	// prefix is what was cut off the path because it says for whom the call is.
	prefix string
	method string
	target target
	// readings are the ways in which servers read the path; mostly there is
	// oneReading.
	readings   []string
	oneReading [1]string
	token      connection.Token
	// api is where HubSpot is asked; followed is set once it has sent the call
	// there.
	api      origin
	followed bool
	pacing   pacing
	// standIn is whose token goes along instead of the user's own.
	standIn standIn
	body    *keptBody
	// enveloped is set if the call came in an envelope, which taken bytes of
	// the budget are for.
	enveloped bool
	taken     int64

	// tries counts how often HubSpot was asked, and received is the status
	// of its answer.
	tries    int
	received int
	// connected is set once the try under way has a connection. cancelTry, if
	// not nil, ends the context of the try.
	connected bool
	cancelTry context.CancelCauseFunc

	// overhead is the time spent here, since is when this stretch of it
	// began.
	overhead time.Duration
	since    time.Time

	// errorKind and correlationID are those of an answer of our own.
	errorKind     string
	correlationID string
	// dryRun is the correlation id of what the caller's policy would have
	// refused first, empty if that is nothing.
	dryRun string
	// answered is set for an answer of our own that is no error.
	answered bool
	// unanswered is the error that somebody else answers.
	unanswered error

	// waiting is set while informational answers can be passed on, which come
	// on a goroutine of the transport's.
	informing sync.Mutex
	waiting   bool

	// reconnect is the link for scopes that HubSpot has missed.
	reconnect string

	// values are of headers that the answer gets.
	values [2]string

	answer answer
	guard  guard
}

// NewCall makes a call of a request. sent is the request's target as the client
// sent it, where handlers in front may have changed the request.
func (r *Relay) NewCall(w http.ResponseWriter, req *http.Request, sent string) *Call {
	c := &Call{relay: r, inbound: req, sent: sent, since: time.Now()}
	c.guard.call = c
	c.answer.init(c, w)
	return c
}

// Serve answers the request. It returns an error that it leaves to somebody
// else to answer: [ErrClientGone], or one that Foreign has claimed.
func (c *Call) Serve() error {
	defer c.finish()
	out, err := c.admit()
	if err != nil {
		c.refuse(err)
	}
	if out == nil {
		return c.unanswered
	}
	c.relay.proxy.ServeHTTP(&c.answer, out)
	c.answer.linger()
	return c.unanswered
}

// finish gives back what the call holds, and counts and records it.
func (c *Call) finish() {
	c.endTry(nil)
	if c.body != nil {
		c.body.forget()
	}
	if c.reconnect != "" {
		// The client has it. Whoever reads Caddy's access log could use it.
		delete(c.answer.Header(), headerReconnect)
	}
	c.relay.Budget.give(c.holder(), c.taken)
	c.count()
	c.record()
}

type callKey struct{}

// callOf returns the call that a context belongs to.
func callOf(ctx context.Context) *Call { return ctx.Value(callKey{}).(*Call) }

// outgoing is the request that goes through the proxy.
func (c *Call) outgoing(r *http.Request) *http.Request {
	out := r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	if r.Body != nil && r.Body != http.NoBody {
		// The server closes it. The proxy would do so too early for linger.
		out.Body = io.NopCloser(r.Body)
	}
	return out
}

// rewrite addresses the proxy's copy of a request to HubSpot. The token is put
// on another copy, by the round tripper.
func rewrite(pr *httputil.ProxyRequest) {
	c := callOf(pr.Out.Context())
	pr.Out.URL = c.target.url(c.api.scheme, c.api.host)
	pr.Out.Host = c.api.host
	c.keepHere(pr.Out.Header)
}

// fail answers a call that has no answer of HubSpot's.
func fail(_ http.ResponseWriter, r *http.Request, err error) {
	c := callOf(r.Context())
	c.refuse(c.explain(r.Context(), err))
}

// leave and enter bound the time that HubSpot takes.
func (c *Call) leave() { c.overhead += time.Since(c.since) }
func (c *Call) enter() { c.since = time.Now() }

// patience bounds how long the request waits here before it is sent.
func (c *Call) patience(ctx context.Context) *patience {
	return &patience{Context: ctx, deadline: c.since.Add(c.relay.MaxWait)}
}

// getToken finds the access token of the call's user.
func (c *Call) getToken(ctx context.Context) error {
	wait := c.patience(ctx)
	defer wait.end()
	if c.asApp {
		return c.getAppToken(wait)
	}
	app, user := c.serving()
	if user != c.user || app != c.relay.App {
		var err error
		c.token, err = app.Manager.Token(wait, user)
		return err
	}
	return c.relay.Desk.LookUp(wait, app, c.caller, c.user, func() (err error) {
		c.token, err = app.Manager.Token(wait, c.user)
		return err
	})
}

// replaceToken finds another token after HubSpot has refused the one in use.
// If there is none, the one in use stays.
func (c *Call) replaceToken(ctx context.Context) error {
	wait := c.patience(ctx)
	defer wait.end()
	if c.asApp {
		return c.replaceAppToken(wait)
	}
	app, user := c.serving()
	token, err := app.Manager.Rejected(wait, user, c.token)
	if err == nil {
		c.token = token
	}
	return err
}

// isHubSpots reports whether the answer is HubSpot's, and not our own.
func (c *Call) isHubSpots() bool { return c.received != 0 && c.errorKind == "" }

// wait has informational answers passed on, or no longer.
func (c *Call) wait(on bool) {
	c.informing.Lock()
	defer c.informing.Unlock()
	c.waiting = on
}

// inform passes an informational answer on, unless it is about an answer that
// the client does not get as it is.
func (c *Call) inform(status int, header textproto.MIMEHeader) error {
	c.informing.Lock()
	defer c.informing.Unlock()
	if c.waiting && !c.enveloped {
		c.answer.inform(status, http.Header(header))
	}
	return nil
}
