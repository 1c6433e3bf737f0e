package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
)

// connections serves everything below /hubspot/connections/.
func connections(ctx context.Context, r *http.Request) (int, any, error) {
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	segments, err := pathSegments(r.URL, adminapi.Connections+"/")
	if err != nil {
		return 0, nil, err
	}
	app, ok := s.App(segments[0])
	if !ok {
		return 0, nil, failure(http.StatusNotFound, "there is no app %q", segments[0])
	}
	switch {
	case len(segments) == 1 && r.Method == http.MethodPost:
		return importOne(ctx, r, s, app)
	case len(segments) == 1:
		return list(ctx, r, s, app)
	case len(segments) == 2:
		return one(ctx, r, s, app, segments[1])
	case len(segments) == 3 && segments[2] == "refresh":
		return refresh(ctx, r, app, segments[1])
	}
	return 0, nil, failure(http.StatusNotFound, "no such path; see /hubspot/connections/<app>/<user>")
}

// pathSegments splits a path before it is decoded: a user may hold slashes.
func pathSegments(u *url.URL, prefix string) ([]string, error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), prefix), "/")
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil || decoded == "" {
			return nil, failure(http.StatusBadRequest, "the path is not /hubspot/connections/<app>/<user>, percent-encoded")
		}
		segments[i] = decoded
	}
	return segments, nil
}

func list(ctx context.Context, r *http.Request, s *sidecar.Sidecar, app *hubapp.App) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	limit := adminapi.DefaultLimit
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > adminapi.MaxLimit {
			return 0, nil, failure(http.StatusBadRequest, "limit: give a number from 1 to %d", adminapi.MaxLimit)
		}
		limit = n
	}
	all := func(string) bool { return true }
	query := r.URL.Query()
	summaries, next, err := callerapi.ListStatus(ctx, app.Manager, query.Get("after"), limit, query.Get("status"), all)
	if err != nil {
		return 0, nil, managerError(err)
	}
	page := callerapi.NewPage(summaries, next)
	page.Offer(reconnect(ctx, s, app))
	return http.StatusOK, page, nil
}

// reconnect makes the links with which users reconnect.
func reconnect(ctx context.Context, s *sidecar.Sidecar, app *hubapp.App) func(user string, granted []string) string {
	return func(user string, granted []string) string {
		return installlink.ForOperator(ctx, s.Desk(), app, user, granted)
	}
}

func one(ctx context.Context, r *http.Request, s *sidecar.Sidecar, app *hubapp.App, user string) (int, any, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		summary, err := app.Manager.Get(ctx, user)
		if err != nil {
			return 0, nil, managerError(err)
		}
		view := callerapi.NewView(summary)
		view.Offer(reconnect(ctx, s, app))
		return http.StatusOK, view, nil
	case http.MethodDelete:
		return disconnect(ctx, r, s, app, user)
	}
	return 0, nil, failure(http.StatusMethodNotAllowed, "method %s is not allowed here; use GET or DELETE", r.Method)
}

// disconnectTimeout leaves time to answer what was done until then.
const disconnectTimeout = answerTimeout - 5*time.Second

func disconnect(ctx context.Context, r *http.Request, s *sidecar.Sidecar, app *hubapp.App, user string) (int, any, error) {
	var options connection.DisconnectOptions
	if text := r.URL.Query().Get("uninstall"); text != "" {
		var err error
		if options.Uninstall, err = strconv.ParseBool(text); err != nil {
			return 0, nil, failure(http.StatusBadRequest, "uninstall: give true or false")
		}
	}
	entry := audit.Entry{Kind: audit.KindAdminDisconnect, App: app.Name, Method: http.MethodDelete, User: user, Tagger: app.Manager}
	record := func(status int) {
		entry.Status = status
		if log := s.Audit(); log != nil {
			log.Record(entry)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, disconnectTimeout)
	defer cancel()
	done, err := app.Manager.Disconnect(ctx, user, options)
	if err != nil {
		entry.Error = "not_done"
		if errors.Is(err, connection.ErrNotConnected) {
			entry.Error = "not_connected"
		}
		err = managerError(err)
		record(statusOf(err))
		return 0, nil, err
	}
	receipt := callerapi.NewReceipt(done)
	entry.Portal = receipt.HubID
	record(receipt.StatusCode())
	return receipt.StatusCode(), receipt, nil
}

// statusOf is the status with which an error of managerError is answered.
func statusOf(err error) int {
	api, _ := errors.AsType[caddy.APIError](err)
	return api.HTTPStatus
}

func refresh(ctx context.Context, r *http.Request, app *hubapp.App, user string) (int, any, error) {
	if err := wantMethod(r, http.MethodPost); err != nil {
		return 0, nil, err
	}
	summary, err := app.Manager.ForceRefresh(ctx, user)
	if err != nil {
		return 0, nil, managerError(err)
	}
	return http.StatusOK, callerapi.NewView(summary), nil
}

// isHeldBack reports whether a refresh was not tried at all, for a reason that
// has a name.
func isHeldBack(err error) bool {
	_, ok := errors.AsType[*connection.HeldBack](err)
	return ok
}

// managerError gives an error of the Manager its status.
func managerError(err error) error {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, connection.ErrBadCursor), errors.Is(err, callerapi.ErrNoSuchStatus):
		status = http.StatusBadRequest
	case errors.Is(err, connection.ErrNotConnected):
		status = http.StatusNotFound
	case errors.Is(err, connection.ErrReauthRequired), errors.Is(err, connection.ErrStatic):
		status = http.StatusConflict
	case isHeldBack(err):
		status = http.StatusTooManyRequests
	case errors.Is(err, connection.ErrUnavailable), errors.Is(err, connection.ErrDenied), errors.Is(err, connection.ErrTokenUnavailable),
		errors.Is(err, connection.ErrAppMisconfigured), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}
