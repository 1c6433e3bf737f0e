package caddymodule

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// refuseAfter answers a request that the proxy has failed on. Errors that
// are not about HubSpot, such as those of a handle_response route, go up.
func (c *call) refuseAfter(r *http.Request, err error) error {
	if c.writer.status != 0 {
		return err
	}
	if c.failure != nil {
		err = c.explain(r.Context())
	}
	return c.refuse(r, err)
}

// explain says what the call's failure means.
func (c *call) explain(ctx context.Context) error {
	err := c.failure
	if own, ok := errors.AsType[*apierror.Error](err); ok {
		return own
	}
	if _, ok := errors.AsType[bodyError](err); ok {
		return unreadable("the body of the request", err)
	}
	aboutUser := errors.Is(err, connection.ErrReauthRequired) || errors.Is(err, connection.ErrNotConnected)
	if c.tries > 0 && !aboutUser {
		return upstreamError(err, c.connected)
	}
	e := connectionError(c.proxy.hub, c.user, err)
	c.proxy.hub.addInstallLink(ctx, e, c.caller, c.user)
	return e
}

// unreadable is the error for something of the caller's that could not be
// read to its end. Where another handler says with what status, it stays
// that handler's: such is the limit of the directive request_body.
func unreadable(what string, err error) error {
	if limit, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return limit
	}
	return apierror.Wrap(apierror.BadRequest, sentence(errors.New(what+" broke off")), err)
}

// upstreamError maps an error on the way to HubSpot or back. connected is set
// if there was a connection.
func upstreamError(err error, connected bool) *apierror.Error {
	if _, ok := errors.AsType[reverseproxy.DialError](err); ok || !connected && !isCertificateError(err) {
		return apierror.Wrap(apierror.UpstreamUnreachable, "No connection to HubSpot's API could be made. The request was not sent.", err)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return apierror.Wrap(apierror.UpstreamTimeout, "HubSpot's API did not answer in time. It may have processed the request.", err)
	}
	e := apierror.Wrap(apierror.UpstreamUnreachable, "The connection to HubSpot's API broke before there was an answer. It may have processed the request.", err)
	switch {
	case isCertificateError(err):
		e.Message = "The server at the address of HubSpot's API has a certificate that is not valid for it. The request was not sent."
		e.ProxyError = "tls_certificate_error"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.ProxyError = "connection_terminated"
	case errors.Is(err, errSwitched):
		e.ProxyError = "http_protocol_error"
	}
	return e
}

func isCertificateError(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// refuse answers a request with an error of our own, if err is one, and
// notes it in the log under its correlation id.
func (c *call) refuse(r *http.Request, err error) error {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		c.writer.release()
		return err
	}
	e.Tries = c.tries
	if e.Context == nil {
		e.Context = make(map[string][]string, 2)
	}
	e.Context["app"] = []string{c.proxy.hub.name}
	if c.user != "" {
		e.Context["user"] = []string{c.user}
	}
	c.errorKind, c.correlationID = string(e.SubCategory), e.CorrelationID
	c.log(e)
	e.ServeHTTP(&c.writer, r)
	return nil
}

func (c *call) log(e *apierror.Error) {
	level, message := zap.InfoLevel, "refused a request"
	if e.Status >= http.StatusInternalServerError {
		level, message = zap.ErrorLevel, "a request failed"
	}
	more := zap.Skip()
	if c.caller == nil {
		level, more = c.proxy.strangers.level(level)
	}
	line := c.proxy.logger.Check(level, message)
	if line == nil {
		return
	}
	fields := []zap.Field{
		zap.String("app", c.proxy.hub.name),
		zap.String("caller", c.callerName()),
		zap.Int("status", e.Status),
		zap.String("correlation_id", e.CorrelationID),
		zap.Error(e),
		more,
	}
	if id := c.tokenID(); id != "" {
		fields = append(fields, zap.String("token_id", id))
	}
	line.Write(fields...)
}

// callerName is empty for a request without a key, or with one that is not
// known.
func (c *call) callerName() string {
	if c.caller == nil {
		return ""
	}
	return c.caller.Name()
}

// count counts the answer.
func (c *call) count() {
	if c.tries == 0 {
		c.overhead += time.Since(c.since)
	}
	source := sourceSidecar
	if c.isHubSpots() {
		source = sourceHubSpot
	}
	c.proxy.app.metrics.request(c.proxy.hub.name, c.callerName(), source, c.status(), c.overhead)
}
