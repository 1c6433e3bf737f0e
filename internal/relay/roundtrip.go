package relay

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// roundTripper sends the calls of a proxy to HubSpot, each as often as it takes
// and is permitted.
type roundTripper struct{}

// RoundTrip implements [http.RoundTripper].
func (roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callOf(r.Context())
	c.body = c.keepBody(r)
	c.wait(true)
	res, err := c.roundTrip(r)
	c.wait(false)
	if err != nil {
		return nil, err
	}
	res.Request = r
	c.received = res.StatusCode
	c.learnScopes(res)
	c.guard.watch(res)
	if c.enveloped {
		return c.guard.envelop(res), nil
	}
	return res, nil
}

func (c *Call) roundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	c.pacing.limit = hubspot.LimitOf(c.method, c.target.path)
	if err := c.getToken(ctx); err != nil {
		return nil, err
	}
	ticket, err := c.takePlace(ctx)
	if err != nil {
		return nil, err
	}
	up := c.withToken(r)
	for tokens := 1; ; {
		got := c.send(up)
		got.limited = c.limitOf(got.res)
		settle(ticket, got)
		if got.err != nil && isUnprocessed(got.err) {
			c.body.readRest()
		}
		if c.refusesKind(got) {
			body, placed, ok := c.replace(ctx)
			if !ok {
				return got.res, nil
			}
			got.discard()
			ticket, up = placed, c.withToken(r)
			up.Body = body
			continue
		}
		regional, elsewhere := c.findHublet(got)
		next, ok := c.body.again(got.connected)
		if !ok || c.tries >= maxTries {
			return got.res, c.body.blame(got.err)
		}
		reason := "token"
		if got.refusesToken(c, tokens) {
			tokens++
			if err := c.replaceToken(ctx); err != nil {
				return got.unlessAboutUser(err)
			}
		} else if elsewhere {
			reason, c.followed, c.api = "hublet", true, regional
		} else if reason, ok = c.pauseAfter(ctx, got); !ok {
			return got.res, c.body.blame(got.err)
		}
		if ticket, err = c.takePlace(ctx); err != nil {
			return got.unlessFrozen(err, c.body)
		}
		c.relay.Metrics.Retried(c.relay.App.Name, reason)
		got.discard()
		up = c.withToken(r)
		up.Body = next
	}
}

var errSwitched = errors.New("HubSpot switched protocols without being asked")

// send makes one try.
func (c *Call) send(up *http.Request) (got try) {
	c.connected = false
	c.tries++
	c.leave()
	got.res, got.err = c.relay.Transport.RoundTrip(up) //nolint:bodyclose // whoever takes the try closes it, or discards it
	if got.err != nil && errors.Is(context.Cause(up.Context()), errUnprocessed) {
		got.err = errUnprocessed
	}
	got.connected = c.connected
	c.enter()
	if got.err == nil && got.res.StatusCode == http.StatusSwitchingProtocols {
		_ = got.res.Body.Close()
		got.res, got.err = nil, errSwitched
	}
	return got
}

// takePlace waits until the quota of the call's portal has a place. After a
// wait, it looks whether the token is still the newest; in any case whether the
// call was frozen since it was let in. The error is an [*apierror.Error], one
// of the Manager, or that of ctx.
func (c *Call) takePlace(ctx context.Context) (quota.Ticket, error) {
	ticket, err := c.waitForPlace(ctx)
	if err != nil {
		return ticket, err
	}
	if ticket.Waited != 0 {
		err = c.getToken(ctx)
	}
	if err == nil {
		err = c.checkFrozen()
	}
	if err != nil {
		ticket.Unsent()
		return quota.Ticket{}, err
	}
	return ticket, nil
}

// settle tells the quota what came of a try.
func settle(ticket quota.Ticket, got try) {
	switch {
	case got.limited != nil:
		ticket.Limited(*got.limited)
	case got.res != nil:
		ticket.Answered(hubspot.ReadUsage(got.res.Header))
	case !got.connected:
		ticket.Unsent()
	default:
		ticket.Unanswered()
	}
}
