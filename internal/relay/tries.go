package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// maxTries is how often HubSpot is asked for one request at the most.
const maxTries = 3

// Bases of the pauses before another try. HubSpot asks for "a few seconds"
// after a 502 or 504, and says that its locks last 2 seconds.
const (
	pauseUnsent  = 200 * time.Millisecond
	pauseLimited = time.Second
	pauseGateway = time.Second
	pauseLocked  = 2 * time.Second
)

// statusMigration is HubSpot's own status for an account that is moving to
// another data centre. It comes with a Retry-After of up to 24 hours.
const statusMigration = 477

// try is one request to HubSpot and what came of it.
type try struct {
	res *http.Response
	err error
	// connected is set if the request may have left.
	connected bool
	// limited is the limit for which HubSpot refused the request, or nil.
	limited *hubspot.Limited
}

// refusesToken reports whether HubSpot refuses the token and another one can
// be had. tokens is how many were tried.
func (got try) refusesToken(c *Call, tokens int) bool {
	return tokens == 1 && got.res != nil && got.res.StatusCode == http.StatusUnauthorized && refusesToken(c.method, got.res)
}

// unlessAboutUser returns HubSpot's answer, unless the error tells the caller
// more.
func (got try) unlessAboutUser(err error) (*http.Response, error) {
	if errors.Is(err, connection.ErrReauthRequired) || errors.Is(err, connection.ErrNotConnected) {
		got.discard()
		return nil, err
	}
	return got.res, got.err
}

// unlessFrozen returns what came of the try, unless the call was frozen since:
// what is sent again was not processed, or only reads.
func (got try) unlessFrozen(err error, body *keptBody) (*http.Response, error) {
	if admission.IsFrozen(err) {
		got.discard()
		return nil, err
	}
	return got.res, body.blame(got.err)
}

// discard closes an answer that nobody gets.
func (got try) discard() {
	if got.res != nil {
		_ = got.res.Body.Close()
	}
}

// pauseAfter waits before another try, and says why there is one. ok is false
// if there must be none, or if it cannot come in time.
func (c *Call) pauseAfter(ctx context.Context, got try) (reason string, ok bool) {
	pause, reason := got.pause(c)
	if reason == "" || ctx.Err() != nil || pause >= time.Until(c.pacing.until) {
		return "", false
	}
	if pause == 0 {
		return reason, true
	}
	if got.res != nil {
		holdBody(got.res)
	}
	c.overhead += time.Since(c.since)
	defer c.enter()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return reason, true
	case <-ctx.Done():
		return "", false
	}
}

// pause is how long to wait before another try, and why there is one; without
// a reason there is none.
func (got try) pause(c *Call) (pause time.Duration, reason string) {
	switch {
	case got.err != nil:
		return got.pauseAfterError(c)
	case got.limited != nil:
		return got.pauseAfterLimit(c)
	}
	status := got.res.StatusCode
	if status < http.StatusBadRequest {
		return 0, ""
	}
	asked, hasAsked := hubspot.ReadRetryAfter(got.res.Header)
	switch {
	case status == http.StatusLocked && hasAsked, status == statusMigration && hasAsked:
		return asked, "locked"
	case status == http.StatusLocked:
		return pauseLocked + jitter(pauseLocked, 1), "locked"
	case !isGatewayError(status) || !c.onlyReads():
		return 0, ""
	case hasAsked:
		return asked, "gateway"
	}
	return jitter(pauseGateway, c.tries), "gateway"
}

// pauseAfterLimit leaves it to the quota to find the next place; what is not
// counted has none.
func (got try) pauseAfterLimit(c *Call) (time.Duration, string) {
	switch {
	case got.limited.Daily():
		return 0, ""
	case c.pacing.limit != hubspot.NoLimit:
		return 0, "limited"
	case got.limited.RetryAfter > 0:
		return got.limited.RetryAfter, "limited"
	}
	return jitter(pauseLimited, c.tries), "limited"
}

func (got try) pauseAfterError(c *Call) (time.Duration, string) {
	if isCertificateError(got.err) || errors.Is(got.err, errSwitched) {
		return 0, ""
	}
	if !got.connected || isUnprocessed(got.err) {
		return jitter(pauseUnsent, c.tries), "unsent"
	}
	// After a timeout the next try would hardly be faster.
	if timeout, ok := errors.AsType[net.Error](got.err); ok && timeout.Timeout() || !c.onlyReads() {
		return 0, ""
	}
	return jitter(pauseUnsent, c.tries), "broken"
}

// jitter is a random pause of up to base, or twice as much with each try.
func jitter(base time.Duration, tries int) time.Duration {
	return rand.N(base<<(tries-1)) + 1
}

// isGatewayError holds the answers of HubSpot's edge that say that there is
// none of HubSpot's own.
func isGatewayError(status int) bool {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return status >= 520 && status <= 529
}
