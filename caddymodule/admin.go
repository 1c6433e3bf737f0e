package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI adds endpoints below /hubspot/ to Caddy's admin API:
//
//	GET    /hubspot/live                               200 as long as the process serves
//	GET    /hubspot/ready                              200, or 503 with the reasons
//	GET    /hubspot/status                             apps, alarms, store
//	GET    /hubspot/connections/<app>?limit=&after=    connections of an app
//	GET    /hubspot/connections/<app>/<user>           one connection
//	POST   /hubspot/connections/<app>/<user>/refresh   refreshes its token now
//	DELETE /hubspot/connections/<app>/<user>           ends it
//	GET    /hubspot/freezes                            what is frozen
//	POST   /hubspot/freezes                            freezes what the body says
//	DELETE /hubspot/freezes                            lifts what the body says
//	POST   /hubspot/tags/<app>                         the tag of the user that the body names
//
// <user> is percent-encoded. No answer holds a token.
type adminAPI struct{}

// Paths of the admin API.
const (
	adminBase        = "/hubspot/"
	adminConnections = adminBase + "connections"
	adminFreezes     = adminBase + "freezes"
	adminTags        = adminBase + "tags"
)

// Sizes of a page of connections.
const (
	defaultListLimit = 100
	maxListLimit     = 1000
)

// adminTimeout bounds what an admin request may ask of the store and HubSpot.
const adminTimeout = 30 * time.Second

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.hubspot",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements [caddy.AdminRouter].
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: adminBase + "live", Handler: adminHandler(a.live)},
		{Pattern: adminBase + "ready", Handler: adminHandler(a.ready)},
		{Pattern: adminBase + "status", Handler: adminHandler(a.status)},
		{Pattern: adminConnections + "/", Handler: adminHandler(a.connections)},
		{Pattern: adminFreezes, Handler: adminHandler(a.freezes)},
		{Pattern: adminTags + "/", Handler: adminHandler(a.tags)},
	}
}

// adminHandler writes the answer of a function as JSON. It is bounded in time
// and never cached.
func adminHandler(answer func(ctx context.Context, r *http.Request) (int, any, error)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
		defer cancel()
		status, body, err := answer(ctx, r)
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-store")
		if body == nil {
			w.WriteHeader(status)
			return nil
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		return json.NewEncoder(w).Encode(body)
	}
}

// adminError is an answer of the admin API's own kind.
func adminError(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// activeApp returns the App of the running config: the admin API outlives
// configs, and is set up before their apps are.
func activeApp() (*App, error) {
	value, err := caddy.ActiveContext().AppIfConfigured("hubspot")
	if err != nil {
		return nil, adminError(http.StatusNotFound, "the running config has no global option hubspot")
	}
	return value.(*App), nil
}

func wantMethod(r *http.Request, method string) error {
	if r.Method == method || method == http.MethodGet && r.Method == http.MethodHead {
		return nil
	}
	return adminError(http.StatusMethodNotAllowed, "method %s is not allowed here; use %s", r.Method, method)
}

func (a *adminAPI) live(_ context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"status": "ok"}, nil
}

// readiness is the answer of /hubspot/ready.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
}

func (a *adminAPI) ready(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	app, err := activeApp()
	if err != nil {
		return 0, nil, err
	}
	answer := readiness{Reasons: app.notReady(ctx)}
	if answer.Ready = len(answer.Reasons) == 0; answer.Ready {
		return http.StatusOK, answer, nil
	}
	return http.StatusServiceUnavailable, answer, nil
}

func (a *adminAPI) status(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	app, err := activeApp()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, app.status(ctx), nil
}

// connections serves everything below /hubspot/connections/.
func (a *adminAPI) connections(ctx context.Context, r *http.Request) (int, any, error) {
	app, err := activeApp()
	if err != nil {
		return 0, nil, err
	}
	segments, err := pathSegments(r.URL, adminConnections+"/")
	if err != nil {
		return 0, nil, err
	}
	hub, ok := app.app(segments[0])
	if !ok {
		return 0, nil, adminError(http.StatusNotFound, "there is no app %q", segments[0])
	}
	switch {
	case len(segments) == 1:
		return a.list(ctx, r, hub)
	case len(segments) == 2:
		return a.one(ctx, r, hub, segments[1])
	case len(segments) == 3 && segments[2] == "refresh":
		return a.refresh(ctx, r, hub, segments[1])
	}
	return 0, nil, adminError(http.StatusNotFound, "no such path; see /hubspot/connections/<app>/<user>")
}

// pathSegments splits a path before it is decoded: a user may hold slashes.
func pathSegments(u *url.URL, prefix string) ([]string, error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), prefix), "/")
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil || decoded == "" {
			return nil, adminError(http.StatusBadRequest, "the path is not /hubspot/connections/<app>/<user>, percent-encoded")
		}
		segments[i] = decoded
	}
	return segments, nil
}

// connectionPath is the admin path of a connection. Dots are encoded too: a
// segment of dots only would not arrive.
func connectionPath(app, user string) string {
	escaped := strings.ReplaceAll(url.PathEscape(user), ".", "%2E")
	return adminConnections + "/" + url.PathEscape(app) + "/" + escaped
}

func (a *adminAPI) list(ctx context.Context, r *http.Request, hub *hubApp) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	limit := defaultListLimit
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxListLimit {
			return 0, nil, adminError(http.StatusBadRequest, "limit: give a number from 1 to %d", maxListLimit)
		}
		limit = n
	}
	all := func(string) bool { return true }
	summaries, next, err := hub.manager.List(ctx, r.URL.Query().Get("after"), limit, all)
	if err != nil {
		return 0, nil, managerError(err)
	}
	return http.StatusOK, newConnectionPage(summaries, next), nil
}

func (a *adminAPI) one(ctx context.Context, r *http.Request, hub *hubApp, user string) (int, any, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		summary, err := hub.manager.Get(ctx, user)
		if err != nil {
			return 0, nil, managerError(err)
		}
		return http.StatusOK, showConnection(summary), nil
	case http.MethodDelete:
		if err := hub.manager.Disconnect(ctx, user); err != nil {
			return 0, nil, managerError(err)
		}
		return http.StatusNoContent, nil, nil
	}
	return 0, nil, adminError(http.StatusMethodNotAllowed, "method %s is not allowed here; use GET or DELETE", r.Method)
}

func (a *adminAPI) refresh(ctx context.Context, r *http.Request, hub *hubApp, user string) (int, any, error) {
	if err := wantMethod(r, http.MethodPost); err != nil {
		return 0, nil, err
	}
	summary, err := hub.manager.ForceRefresh(ctx, user)
	if err != nil {
		return 0, nil, managerError(err)
	}
	return http.StatusOK, showConnection(summary), nil
}

// managerError gives an error of the Manager its status.
func managerError(err error) error {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, connection.ErrBadCursor):
		status = http.StatusBadRequest
	case errors.Is(err, connection.ErrNotConnected):
		status = http.StatusNotFound
	case errors.Is(err, connection.ErrReauthRequired):
		status = http.StatusConflict
	case errors.Is(err, connection.ErrUnavailable), errors.Is(err, connection.ErrTokenUnavailable),
		errors.Is(err, connection.ErrAppMisconfigured), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// Interface guard
var _ caddy.AdminRouter = (*adminAPI)(nil)
