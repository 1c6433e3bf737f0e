package relay

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// pacing is how long and how urgently a call waits.
type pacing struct {
	// until is when the call waits no longer: for quota, or for another
	// try.
	until time.Time
	lane  quota.Lane
	limit hubspot.Limit
}

// readPacing reads the headers with which a caller says how long and how
// urgently a request may wait.
func (c *Call) readPacing(header http.Header) error {
	wait := c.relay.MaxWait
	if text, ok, err := onlyValue(header[headerMaxWait], "X-HubSpot-Max-Wait"); err != nil {
		return err
	} else if ok {
		own, err := time.ParseDuration(text)
		if err != nil || own < 0 {
			return apierror.Badf("the header X-HubSpot-Max-Wait has to be a duration such as 500ms or 2s, or 0 not to wait; it is %s", apierror.Quoted(text))
		}
		wait = min(wait, own)
	}
	c.pacing.until = c.since.Add(wait)
	if text, ok, err := onlyValue(header[headerPriority], "X-HubSpot-Priority"); err != nil {
		return err
	} else if ok {
		if c.pacing.lane, ok = laneNamed(text); !ok {
			return apierror.Badf("the header X-HubSpot-Priority has to be interactive, which is the default, or batch; it is %s", apierror.Quoted(text))
		}
	}
	return nil
}

// onlyValue returns the one value of a header; ok is false if there is none.
// The same value twice is still one.
func onlyValue(values []string, name string) (text string, ok bool, err error) {
	if len(values) == 0 {
		return "", false, nil
	}
	for _, other := range values[1:] {
		if other != values[0] {
			return "", false, apierror.Badf("the header %s is there with different values", name)
		}
	}
	return strings.TrimSpace(values[0]), true, nil
}

func laneNamed(name string) (quota.Lane, bool) {
	switch {
	case strings.EqualFold(name, "batch"):
		return quota.Batch, true
	case strings.EqualFold(name, "interactive"):
		return quota.Interactive, true
	}
	return 0, false
}

// waitForPlace waits until the quota of the call's portal has a place. The
// error is an [*apierror.Error] or that of ctx.
func (c *Call) waitForPlace(ctx context.Context) (quota.Ticket, error) {
	begun := time.Now()
	request := quota.Request{
		HubID: c.token.HubID, Limit: c.pacing.limit, Lane: c.pacing.lane,
		Caller: c.callerName(), Token: c.tokenID(), Weight: c.share(),
		Wait: c.pacing.until.Sub(begun), Again: c.tries,
	}
	app, _ := c.serving()
	limiter := app.Limiter
	ticket, ok := limiter.Try(request)
	if ok {
		return ticket, nil
	}
	if request.Wait > 0 {
		c.readAhead()
		request.Wait = time.Until(c.pacing.until)
	}
	ticket, err := limiter.Wait(ctx, request)
	// Waiting for quota is waiting for HubSpot.
	c.overhead += begun.Sub(c.since)
	c.enter()
	result := metrics.QuotaServed
	switch {
	case ctx.Err() != nil:
		result = metrics.QuotaGone
	case err != nil:
		result = metrics.QuotaRefused
	}
	c.relay.Metrics.QuotaWaited(c.relay.App.Name, c.pacing.limit, result, time.Since(begun))
	if refusal, ok := errors.AsType[*quota.Refusal](err); ok {
		err = apierror.NewRateLimited(refusal.Policy, refusal.RetryAfter)
	}
	return ticket, err
}

// share is how many turns the caller has where others have one.
func (c *Call) share() int {
	if c.caller == nil {
		return 1
	}
	return c.caller.Share()
}

// readAhead reads the body before the call waits: the server finds out that a
// client has gone only once there is nothing left to read. One that is too long
// to be kept is left alone, as is one that the client holds back until it is
// asked for it.
func (c *Call) readAhead() {
	if c.body != nil && c.tries == 0 && c.inbound.Header.Get("Expect") == "" {
		c.body.readAhead()
	}
}

// limitOf returns what a refusal is for, or nil if an answer is none. A body
// that it has to read is in memory afterwards.
func (c *Call) limitOf(res *http.Response) *hubspot.Limited {
	// The limit on search is known to come as a 500, too.
	if res == nil || res.StatusCode != http.StatusTooManyRequests &&
		(res.StatusCode != http.StatusInternalServerError || c.pacing.limit != hubspot.SearchLimit) {
		return nil
	}
	text, _ := decodeContent(res.Header, holdBody(res))
	limited, ok := hubspot.ReadLimited(res.StatusCode, res.Header, text)
	if !ok {
		return nil
	}
	return &limited
}
