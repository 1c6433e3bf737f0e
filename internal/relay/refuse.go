package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/net/http2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
)

// ErrClientGone is the error of [Call.Serve] for a client that has hung up
// before there was an answer.
var ErrClientGone = errors.New("the client is gone")

// statusClientGone counts and records such a call, as access logs do.
const statusClientGone = 499

// explain makes an answer of the error of a round trip.
func (c *Call) explain(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ErrClientGone
	}
	if own, ok := errors.AsType[*apierror.Error](err); ok {
		return own
	}
	if _, ok := errors.AsType[bodyError](err); ok {
		return c.unreadable("the body of the request", err)
	}
	aboutUser := errors.Is(err, connection.ErrReauthRequired) || errors.Is(err, connection.ErrNotConnected)
	if c.tries > 0 && !aboutUser {
		return upstreamError(err, c.connected)
	}
	if c.asApp {
		return c.relay.App.AppTokenError(err)
	}
	e := c.relay.App.ConnectionError(c.user, err)
	installlink.AddTo(ctx, c.relay.Desk, c.relay.App, e, c.caller, c.user)
	return e
}

// unreadable is the error for something of the caller's that could not be read
// to its end. Where another handler says with what status, it stays that
// handler's.
func (c *Call) unreadable(what string, err error) error {
	if c.relay.Foreign != nil && c.relay.Foreign(err) {
		return err
	}
	return apierror.Wrap(apierror.BadRequest, apierror.Sentence(errors.New(what+" broke off")), err)
}

// upstreamError maps an error on the way to HubSpot or back. connected is set
// if there was a connection.
func upstreamError(err error, connected bool) *apierror.Error {
	switch {
	case !connected && !isCertificateError(err):
		return apierror.Wrap(apierror.UpstreamUnreachable, "No connection to HubSpot's API could be made. The request was not sent.", err)
	case isUnprocessed(err):
		return apierror.Wrap(apierror.UpstreamUnreachable, "HubSpot's API refused the request before it was processed, and it could not be sent again. Nothing was processed: send it again.", err)
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

// isUnprocessed reports whether it is proven that a request was not processed:
// its HTTP/2 stream was refused, or is above the last one that the server has
// taken on (RFC 9113, 6.8 and 8.7), or the connection was gone before a byte of
// it was written. The transport has no types for most of these, and calls them
// so where it would have sent the request again but for its body.
func isUnprocessed(err error) bool {
	if stream, ok := errors.AsType[http2.StreamError](err); ok {
		return stream.Code == http2.ErrCodeRefusedStream
	}
	if errors.Is(err, errUnprocessed) {
		return true
	}
	// Servers have a say in how other errors end, such as the one for GOAWAY.
	text := strings.TrimPrefix(err.Error(), "http2: Transport: cannot retry err [")
	if stream, ok := strings.CutPrefix(text, "stream error: stream ID "); ok {
		return strings.HasPrefix(strings.TrimLeft(stream, "0123456789"), "; REFUSED_STREAM")
	}
	return slices.ContainsFunc(unprocessed[:], func(proof string) bool { return strings.HasPrefix(text, proof) })
}

// unprocessed are the beginnings of such errors of Go's transports.
var unprocessed = [...]string{
	"http2: Transport received Server's graceful shutdown GOAWAY",
	"http2: Transport received GOAWAY from server ErrCode",
	"http2: client conn not usable",
	"net/http: cannot rewind body after connection loss",
}

// refuse answers the call with an error of our own, if err is one, and notes
// it in the log under its correlation id. Another error is left to somebody
// else.
func (c *Call) refuse(err error) {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		c.answer.release()
		c.unanswered = err
		if errors.Is(err, ErrClientGone) {
			c.answer.status = statusClientGone
		}
		return
	}
	e.Tries = c.tries
	if e.Context == nil {
		e.Context = make(map[string][]string, 2)
	}
	e.Context["app"] = []string{c.relay.App.Name}
	if c.user != "" {
		e.Context["user"] = []string{c.user}
	}
	c.errorKind, c.correlationID = string(e.SubCategory), e.CorrelationID
	c.log(e)
	e.ServeHTTP(&c.answer, c.inbound)
}

// log writes a line for an error of our own.
func (c *Call) log(e *apierror.Error) {
	level, message := slog.LevelInfo, "refused a request"
	if e.Status >= http.StatusInternalServerError {
		// What is behind it has a line of its own. At the level of errors,
		// zap would add the stack.
		level, message = slog.LevelWarn, "a request failed"
	}
	level, lowered := c.relay.logs.Level(c.callerName(), level)
	ctx := context.WithoutCancel(c.inbound.Context())
	if !c.relay.Logger.Enabled(ctx, level) {
		return
	}
	fields := []slog.Attr{
		slog.String("app", c.relay.App.Name),
		slog.String("caller", c.callerName()),
		slog.Int("status", e.Status),
		slog.String("correlation_id", e.CorrelationID),
		slog.Any("error", e),
	}
	if c.caller != nil && c.user != "" {
		fields = append(fields, slog.String("user_tag", c.relay.App.LogTag(ctx, c.user)))
	}
	if lowered > 0 {
		fields = append(fields, slog.Int64("more_at_debug_level", lowered))
	}
	if id := c.tokenID(); id != "" {
		fields = append(fields, slog.String("token_id", id))
	}
	c.relay.Logger.LogAttrs(ctx, level, message, fields...)
}
