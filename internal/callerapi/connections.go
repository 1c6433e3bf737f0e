package callerapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
)

// Bounds of a page of connections, and of the cursor, which is the store's.
const (
	defaultPageLimit = 100
	maxPageLimit     = 100
	maxCursor        = 1024
)

// disconnectTimeout bounds the end of a connection: what has not been done by
// then is pending.
const disconnectTimeout = 25 * time.Second

const badCursor = "The parameter after is not a cursor of this endpoint: take it from paging.next.after."

// linkAnswer is the answer of the link endpoint.
type linkAnswer struct {
	URL  string `json:"url"`
	User string `json:"userForeignIdentifier"`
	UUID string `json:"UUID"`
}

// link makes an install link for a button.
func (q *request) link() (any, error) {
	if q.user == "" {
		return nil, apierror.New(apierror.UserRequired, "The parameter userForeignIdentifier is missing: say for whom the link is.")
	}
	if err := q.checkUser(); err != nil {
		return nil, err
	}
	if err := q.checkFrozen(freeze.Call{User: q.user, Writes: true}); err != nil {
		return nil, err
	}
	options, err := q.linkOptions()
	if err != nil {
		return nil, apierror.Bad(err)
	}
	if options.AllowPortalChange && q.caller.Scope() != nil {
		return nil, apierror.New(apierror.CallerForbidden, "A user token cannot move its user to another HubSpot account. Ask with the key of a caller.")
	}
	ctx := q.r.Context()
	link, _, err := installlink.Make(ctx, q.config.Desk, q.app, options)
	if err != nil {
		return nil, install.StartError(q.app, err)
	}
	uuid, err := q.app.UUID(ctx)
	if err != nil {
		return nil, install.StartError(q.app, err)
	}
	q.note(ctx, "install link made")
	return linkAnswer{URL: link, User: q.user, UUID: uuid}, nil
}

func (q *request) linkOptions() (o installlink.Options, err error) {
	o = installlink.Options{User: q.user, Caller: q.caller.Name()}
	switch q.query.Get(paramAllowPortalChange) {
	case "true":
		o.AllowPortalChange = true
	case "", "false":
	default:
		return o, errors.New("allow_portal_change must be true or false")
	}
	if raw := q.query.Get(paramReturnTo); raw != "" {
		o.ReturnTo, err = q.config.ReturnTo.Check(raw)
	}
	return o, err
}

// list shows a page of the connections that the caller may see.
func (q *request) list() (any, error) {
	if err := q.checkFrozen(freeze.Call{Tending: true}); err != nil {
		return nil, err
	}
	limit := defaultPageLimit
	if q.query.Has(paramLimit) {
		n, err := strconv.Atoi(q.query.Get(paramLimit))
		if err != nil || n < 1 || n > maxPageLimit {
			return nil, apierror.New(apierror.BadRequest, fmt.Sprintf("The parameter limit must be a number from 1 to %d.", maxPageLimit))
		}
		limit = n
	}
	after := q.query.Get(paramAfter)
	if len(after) > maxCursor || strings.ContainsFunc(after, func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, apierror.New(apierror.BadRequest, badCursor)
	}
	ctx := q.r.Context()
	show, listed := q.maySee(ctx)
	if scope := q.caller.Scope(); scope != nil {
		return q.listOwn(ctx, scope.User, after, show)
	}
	defer listed()
	summaries, next, err := ListStatus(ctx, q.app.Manager, after, limit, q.query.Get(paramStatus), show)
	switch {
	case errors.Is(err, connection.ErrBadCursor):
		return nil, apierror.New(apierror.BadRequest, badCursor)
	case errors.Is(err, ErrNoSuchStatus):
		return nil, apierror.Bad(err)
	case err != nil:
		return nil, q.app.StoreError(err)
	}
	return q.offering(NewPage(summaries, next)), nil
}

// offering is a page with the links that the caller may have.
func (q *request) offering(page Page) Page {
	page.Offer(q.reconnect)
	return page
}

// reconnect is the link for a user to grant again what was granted.
func (q *request) reconnect(user string, granted []string) string {
	return installlink.ForReconnect(q.r.Context(), q.config.Desk, q.app, q.caller, user, granted)
}

// listOwn is list for a user token: there is one connection to look for, and
// no page after it.
func (q *request) listOwn(ctx context.Context, user, after string, show func(string) bool) (any, error) {
	switch {
	case after != "":
		return nil, apierror.New(apierror.BadRequest, badCursor)
	case !show(user):
		return NewPage(nil, ""), nil
	}
	status := q.query.Get(paramStatus)
	if err := checkStatus(status); err != nil {
		return nil, apierror.Bad(err)
	}
	summary, err := q.app.Manager.Get(ctx, user)
	switch {
	case errors.Is(err, connection.ErrNotConnected), err == nil && status != "" && string(summary.Status) != status:
		return NewPage(nil, ""), nil
	case err != nil:
		return nil, q.app.StoreError(err)
	}
	return q.offering(NewPage([]connection.Summary{summary}, "")), nil
}

// connection shows one connection, or ends it.
func (q *request) connection() (any, error) {
	if q.user == "" {
		return nil, apierror.New(apierror.UserRequired,
			"The path has to end in the user, percent-encoded, slashes too: …/connections/{app}/{user}.")
	}
	if err := q.checkUser(); err != nil {
		return nil, err
	}
	ends := q.r.Method == http.MethodDelete
	if err := q.checkFrozen(freeze.Call{User: q.user, Tending: true, Writes: ends}); err != nil {
		return nil, err
	}
	if ends {
		return q.disconnect()
	}
	return q.show()
}

func (q *request) show() (any, error) {
	ctx := q.r.Context()
	var summary connection.Summary
	err := q.config.Desk.LookUp(ctx, q.app, q.caller, q.user, func() (err error) {
		summary, err = q.app.Manager.Get(ctx, q.user)
		return err
	})
	if err != nil {
		e := q.app.ConnectionError(q.user, err)
		installlink.AddTo(ctx, q.config.Desk, q.app, e, q.caller, q.user)
		return nil, e
	}
	view := NewView(summary)
	view.Offer(q.reconnect)
	return view, nil
}

// disconnect ends a connection. It goes on when the caller hangs up.
func (q *request) disconnect() (any, error) {
	var options connection.DisconnectOptions
	switch q.query.Get(paramUninstall) {
	case "true":
		options.Uninstall = true
	case "", "false":
	default:
		return nil, apierror.New(apierror.BadRequest, "The parameter uninstall must be true or false.")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.r.Context()), disconnectTimeout)
	defer cancel()
	var receipt connection.Receipt
	err := q.config.Desk.LookUp(ctx, q.app, q.caller, q.user, func() (err error) {
		receipt, err = q.app.Manager.Disconnect(ctx, q.user, options)
		return err
	})
	if err != nil {
		return nil, q.app.ConnectionError(q.user, err)
	}
	q.note(ctx, "connection deleted", slog.String("revoked", string(receipt.Revoked)), slog.String("uninstalled", string(receipt.Uninstalled)))
	return NewReceipt(receipt), nil
}
