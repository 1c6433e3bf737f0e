// Package admin is the module admin.api.hubspot: what the sidecar adds to
// Caddy's admin API. Its paths, questions and answers are those of package
// adminapi.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func init() {
	caddy.RegisterModule(API{})
}

// API adds endpoints below /hubspot/ to Caddy's admin API:
//
//	GET    /hubspot/live                               200 as long as the process serves
//	GET    /hubspot/ready                              200, or 503 with the reasons
//	GET    /hubspot/status                             apps, alarms, store
//	GET    /hubspot/connections/<app>                  connections of an app; ?status=&limit=&after=
//	POST   /hubspot/connections/<app>                  imports the connection that the body has
//	POST   /hubspot/imports/<app>                      imports those that the body has
//	GET    /hubspot/export/<app>                       all connections, sealed to the keys of export_to
//	POST   /hubspot/move                               moves connections from the store of migrate_from
//	GET    /hubspot/connections/<app>/<user>           one connection
//	POST   /hubspot/connections/<app>/<user>/refresh   refreshes its token now
//	DELETE /hubspot/connections/<app>/<user>           ends it
//	GET    /hubspot/freezes                            what is frozen
//	POST   /hubspot/freezes                            freezes what the body says
//	DELETE /hubspot/freezes                            lifts what the body says
//	POST   /hubspot/tags/<app>                         the tag of the user that the body names
//	GET    /hubspot/webhooks?state=&limit=             webhooks that wait, and dead letters
//	POST   /hubspot/webhooks/retry                     sends dead letters again
//	POST   /hubspot/webhooks/drop                      forgets a dead letter
//	GET    /hubspot/quota/<app>[/<portal>]             what is used of HubSpot's limits
//	DELETE /hubspot/quota/<app>[/<portal>]             forgets what HubSpot has said of them
//	GET    /hubspot/scopes/<app>                       which scopes the app needs
//
// <user> is percent-encoded. No answer holds a token.
type API struct{}

// answerTimeout bounds what an admin request may ask of the store and HubSpot;
// listTimeout is for one that lists all connections of an app.
const (
	answerTimeout = 30 * time.Second
	listTimeout   = 10 * time.Minute
)

// CaddyModule returns the Caddy module information.
func (API) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.hubspot",
		New: func() caddy.Module { return new(API) },
	}
}

// Routes implements [caddy.AdminRouter].
func (*API) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: adminapi.Live, Handler: handler(live)},
		{Pattern: adminapi.Ready, Handler: handler(ready)},
		{Pattern: adminapi.StatusPath, Handler: handler(status)},
		{Pattern: adminapi.Connections + "/", Handler: handler(connections)},
		{Pattern: adminapi.Imports + "/", Handler: handler(imports)},
		{Pattern: adminapi.Export + "/", Handler: caddy.AdminHandlerFunc(export)},
		{Pattern: adminapi.Move, Handler: handler(move)},
		{Pattern: adminapi.Freezes, Handler: handler(freezes)},
		{Pattern: adminapi.Tags + "/", Handler: handler(tags)},
		{Pattern: adminapi.Quota + "/", Handler: handler(quotas)},
		{Pattern: adminapi.Scopes + "/", Handler: handlerWithin(listTimeout, scopes)},
		{Pattern: adminapi.Webhooks, Handler: handler(webhooks)},
		{Pattern: adminapi.Webhooks + "/", Handler: handler(webhooks)},
	}
}

// handler writes the answer of a function as JSON. It is bounded in time and
// never cached.
func handler(answer answerFunc) caddy.AdminHandlerFunc { return handlerWithin(answerTimeout, answer) }

// answerFunc makes the status and the body of an answer.
type answerFunc func(ctx context.Context, r *http.Request) (int, any, error)

// handlerWithin is handler with a bound of its own.
func handlerWithin(timeout time.Duration, answer answerFunc) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		status, body, err := answer(ctx, r)
		if err != nil {
			setRetryAfter(w.Header(), err)
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

// setRetryAfter says when to come again, where an error tells.
func setRetryAfter(header http.Header, err error) {
	api, ok := errors.AsType[caddy.APIError](err)
	if !ok {
		return
	}
	// Caddy's type does not unwrap.
	if held, ok := errors.AsType[*connection.HeldBack](api.Err); ok {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(held.RetryAfter.Seconds()))))
	}
}

// failure is an answer of the admin API's own kind.
func failure(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// active returns the Sidecar of the running config: the admin API outlives
// configs, and is set up before their apps are.
func active() (*sidecar.Sidecar, error) {
	value, err := caddy.ActiveContext().AppIfConfigured("hubspot")
	if err != nil {
		return nil, failure(http.StatusNotFound, "the running config has no global option hubspot")
	}
	return value.(*sidecar.Sidecar), nil
}

func wantMethod(r *http.Request, method string) error {
	if r.Method == method || method == http.MethodGet && r.Method == http.MethodHead {
		return nil
	}
	return failure(http.StatusMethodNotAllowed, "method %s is not allowed here; use %s", r.Method, method)
}

func live(_ context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, adminapi.Alive(), nil
}

func ready(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	answer := s.Readiness(ctx)
	return answer.StatusCode(), answer, nil
}

func status(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.Status(ctx), nil
}

// Interface guard
var _ caddy.AdminRouter = (*API)(nil)
