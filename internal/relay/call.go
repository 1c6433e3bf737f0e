package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// call is one request on its way through the handler and the transport. It
// belongs to the goroutine of the request.
type call struct {
	proxy  *Proxy
	caller *access.Caller
	user   string
	method string
	target target
	token  connection.Token
	pacing pacing
	// inbound is the request that waits for quota.
	inbound *http.Request

	// tries counts how often HubSpot was asked, and received is the status
	// of its answer.
	tries    int
	received int
	// connected is set once the try under way has a connection.
	connected bool
	// failure is why there is no answer of HubSpot's.
	failure error

	// overhead is the time spent here, since is when this stretch of it
	// began.
	overhead time.Duration
	since    time.Time

	// errorKind and correlationID are those of an answer of our own.
	errorKind     string
	correlationID string
	// hubspotID is HubSpot's name for the request, if there is an audit log.
	hubspotID string

	// dryRun is the correlation id of what the caller's policy would have
	// refused first, empty if that is nothing.
	dryRun string

	writer responseWriter
	guard  answerGuard
}

type callKey struct{}

// callOf returns the call that a context belongs to, or nil.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// leave and enter bound the time that HubSpot takes.
func (c *call) leave() { c.overhead += time.Since(c.since) }
func (c *call) enter() { c.since = time.Now() }

// getToken finds the access token of the call's user.
func (c *call) getToken(ctx context.Context) (err error) {
	wait := c.patience(ctx)
	defer wait.end()
	c.token, err = c.proxy.hub.manager.Token(wait, c.user)
	return err
}

// replaceToken finds another token after HubSpot has refused the one in use.
// If there is none, the one in use stays.
func (c *call) replaceToken(ctx context.Context) error {
	wait := c.patience(ctx)
	defer wait.end()
	token, err := c.proxy.hub.manager.Rejected(wait, c.user, c.token)
	if err == nil {
		c.token = token
	}
	return err
}

// patience bounds how long the request waits here before it is sent.
func (c *call) patience(ctx context.Context) *patience {
	return &patience{Context: ctx, deadline: c.since.Add(time.Duration(c.proxy.MaxWait))}
}

// errKept stands for an error that the call keeps for its handler.
var errKept = errors.New("HubSpot was not reached; the log of hubspot_proxy says why")

// fail keeps err for the handler, which answers it. What it returns is for
// the proxy in between, which has to know only whether the client is gone.
func (c *call) fail(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	c.failure = err
	return errKept
}

// isHubSpots reports whether the answer is HubSpot's, and not our own.
func (c *call) isHubSpots() bool { return c.received != 0 && c.errorKind == "" }

// status is that of the answer; 0 if there was none.
func (c *call) status() int { return c.writer.status }

// joinAccessLog adds the call to the line of the access log, if there is one.
func (c *call) joinAccessLog(r *http.Request) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("hubspot", c))
	}
}

// MarshalLogObject writes what the access log says of the call. The user is
// there as the opaque tag that the other logs have.
func (c *call) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("app", c.proxy.hub.name)
	if name := c.callerName(); name != "" {
		enc.AddString("caller", name)
	}
	if id := c.tokenID(); id != "" {
		enc.AddString("token_id", id)
	}
	if c.token.HubID != 0 {
		enc.AddInt64("hub_id", c.token.HubID)
		// With the token known, the tag is too, without asking the store.
		enc.AddString("user_tag", c.proxy.hub.manager.Tag(context.Background(), c.user))
	}
	if c.tries > 0 {
		enc.AddInt("tries", c.tries)
	}
	if c.dryRun != "" {
		enc.AddString("dry_run", c.dryRun)
	}
	if c.errorKind != "" {
		enc.AddString("error", c.errorKind)
		enc.AddString("correlation_id", c.correlationID)
	}
	return nil
}
