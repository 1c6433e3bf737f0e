package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// pacing is how long and how urgently a call waits.
type pacing struct {
	// until is when the call waits no longer: for quota, or for another
	// try.
	until time.Time
	lane  quota.Lane
	class quota.Class
}

// readPacing reads the headers with which a caller says how long and how
// urgently a request may wait.
func (p *Proxy) readPacing(c *call, header http.Header) error {
	wait := time.Duration(p.MaxWait)
	if text, ok, err := onlyValue(header[headerMaxWait], "X-HubSpot-Max-Wait"); err != nil {
		return err
	} else if ok {
		own, err := time.ParseDuration(text)
		if err != nil || own < 0 {
			return badRequest(fmt.Errorf("the header X-HubSpot-Max-Wait has to be a duration such as 500ms or 2s, or 0 not to wait; it is %s", quoted(text)))
		}
		wait = min(wait, own)
	}
	c.pacing.until = c.since.Add(wait)
	if text, ok, err := onlyValue(header[headerPriority], "X-HubSpot-Priority"); err != nil {
		return err
	} else if ok {
		if c.pacing.lane, ok = laneNamed(text); !ok {
			return badRequest(fmt.Errorf("the header X-HubSpot-Priority has to be interactive, which is the default, or batch; it is %s", quoted(text)))
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
			return "", false, badRequest(fmt.Errorf("the header %s is there with different values", name))
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

// takePlace waits until the quota of the call's portal has a place. The error
// is an [*apierror.Error] or that of ctx.
func (c *call) takePlace(ctx context.Context) (quota.Ticket, error) {
	begun := time.Now()
	ticket, err := c.proxy.hub.limiter.Acquire(ctx, quota.Request{
		HubID: c.token.HubID, Class: c.pacing.class, Lane: c.pacing.lane,
		Wait: c.pacing.until.Sub(begun), Again: c.tries, Before: c,
	})
	if err == nil && ticket.Waited == 0 {
		return ticket, nil
	}
	// Waiting for quota is waiting for HubSpot.
	c.overhead += begun.Sub(c.since)
	c.enter()
	result := quotaServed
	switch {
	case ctx.Err() != nil:
		result = quotaGone
	case err != nil:
		result = quotaRefused
	}
	c.proxy.app.metrics.quotaWaited(c.proxy.hub.name, c.pacing.class, result, time.Since(begun))
	if refusal, ok := errors.AsType[*quota.Refusal](err); ok {
		err = apierror.NewRateLimited(refusal.Policy, refusal.RetryAfter)
	}
	return ticket, err
}

// BeginsToWait reads the body before the request waits for quota: the server
// finds out that a client has gone only once there is nothing left to read. One
// that is too long to be kept, or of unknown length, is left alone, as is one
// that the client holds back until it is asked for it.
func (c *call) BeginsToWait() {
	r := c.inbound
	if r.Body == nil || r.ContentLength <= 0 || r.ContentLength > maxKept || c.tries > 0 || r.Header.Get("Expect") != "" {
		return
	}
	content := make([]byte, r.ContentLength)
	n, err := io.ReadFull(r.Body, content)
	read := *r
	read.Body = &peekedBody{
		Reader: io.MultiReader(bytes.NewReader(content[:n]), &failedReader{r.Body, err}),
		Closer: r.Body,
	}
	c.inbound = &read
}

// settle tells the quota what came of a try. connected is set if the request
// may have left. limited is what HubSpot refused it for, if it did.
func settle(ticket quota.Ticket, res *http.Response, connected bool, limited *quota.Limited) {
	switch {
	case limited != nil:
		ticket.Limited(*limited)
	case res != nil:
		ticket.Answered(quota.ReadUsage(res.Header))
	case !connected:
		ticket.Unsent()
	default:
		ticket.Unanswered()
	}
}

// limitOf returns what a refusal is for, or nil if an answer is none. A body
// that it has to read is in memory afterwards.
func (c *call) limitOf(res *http.Response) *quota.Limited {
	// The limit on search is known to come as a 500, too.
	if res == nil || res.StatusCode != http.StatusTooManyRequests &&
		(res.StatusCode != http.StatusInternalServerError || c.pacing.class != quota.Search) {
		return nil
	}
	text, _ := decodeContent(res.Header.Get("Content-Encoding"), holdBody(res))
	limited, ok := quota.ReadLimited(res.StatusCode, res.Header, text)
	if !ok {
		return nil
	}
	return &limited
}
