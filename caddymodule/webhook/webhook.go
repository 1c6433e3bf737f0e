// Package webhook has the handler and directive hubspot_webhook: its settings, and
// what of Caddy taking in webhooks needs to know. See package webhook below internal
// for what it does.
package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueapi"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
)

func init() {
	caddy.RegisterModule(Webhook{})
}

// Webhook takes in what HubSpot sends to an app: webhooks, and calls of cards and
// workflow actions. What HubSpot has not signed with the app's client secret, not
// just now, or not for the first time, is answered with 401 and the error
// `webhook_refused`, whose `context.reason` is `signature`, `timestamp`, `replay` or
// `size`. Both client secrets are good while one is being changed.
//
// Without a queue, a request that was verified goes on to the next handler, with the
// header `X-HubSpot-Verified: v3` and its body as it came.
//
// With a queue it is answered with 204 as soon as it is stored, and then posted to
// the app behind, as a JSON array of events, until that answers 2xx. Events that
// HubSpot sends again within a day are delivered once. A queue that is full answers
// 503, so that HubSpot keeps the events. Deliveries carry:
//
// Header | Value
// -------|------
// `X-HubSpot-Delivery` | the ID of the delivery, the same for every attempt
// `X-HubSpot-Attempt` | the number of the attempt, from 1
// `X-HubSpot-App` | the name of the app
// `X-HubSpot-Portal` | the HubSpot account whose events these are, if they are one account's
// `X-HubSpot-Users` | with it: the users that are connected to the account, percent-encoded and separated by commas
type Webhook struct {
	// The HubSpot app, as the global option `hubspot` names it. Required.
	App string `json:"app,omitempty"`

	// What HubSpot calls, without a query: the app's target URL. It is part of
	// what HubSpot signs. Placeholders are expanded when the config is loaded.
	// Default: the URL of the request; of the headers that proxies set, those
	// of `trusted_proxies` count.
	PublicURL string `json:"public_url,omitempty"`

	// The versions of HubSpot's signature that are taken: `v3`, `v2`, `v1`. A
	// signature of version 3 that is wrong is not made up for by another one.
	// Versions 1 and 2 say nothing of when, and 1 nothing of to where.
	// Default: `v3`.
	Signatures []string `json:"signatures,omitempty"`

	// Where webhooks are kept until they are delivered. Default: nowhere; the
	// next handler gets them.
	QueueRaw json.RawMessage `json:"queue,omitempty" caddy:"namespace=hubspot.queues inline_key=type"`

	// To where the queue's webhooks are delivered. Required with a queue.
	Deliver *Deliver `json:"deliver,omitempty"`

	intake *atomic.Pointer[webhook.Intake]
	// release gives back what is remembered over config reloads.
	release func()
}

// CaddyModule returns the Caddy module information.
func (Webhook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.hubspot_webhook",
		New: func() caddy.Module { return new(Webhook) },
	}
}

// Provision checks the settings, finds the app and takes the queue.
func (h *Webhook) Provision(ctx caddy.Context) error {
	hub, err := sidecar.Get(ctx)
	if err != nil {
		return err
	}
	if h.App == "" {
		return errors.New("hubspot_webhook: app: name the HubSpot app")
	}
	if err := h.provision(ctx, hub); err != nil {
		return fmt.Errorf("hubspot_webhook %s: %w", h.App, err)
	}
	return nil
}

func (h *Webhook) provision(ctx caddy.Context, hub *sidecar.Sidecar) error {
	publicURL, err := expandPublicURL(h.PublicURL)
	if err != nil {
		return err
	}
	versions, err := parseVersions(h.Signatures)
	if err != nil {
		return err
	}
	app := appconfig.CanonicalName(h.App)
	limit := new(admission.LogLimit)
	template := webhook.Intake{
		Observer: hub.Metrics().Webhooks, Logger: ctx.Slogger(), StatusOf: statusOf,
		Level: func(usual slog.Level) (slog.Level, int64) { return limit.Level("", usual) },
	}
	if err := h.provisionQueue(ctx, hub, app, &template); err != nil {
		return err
	}
	replays, release, err := pool.Acquire(pool.KeyOf("replays", app), func() (*pooledReplays, error) {
		return &pooledReplays{webhook.NewReplays()}, nil
	})
	if err != nil {
		return err
	}
	h.release = release
	hub.Metrics().Webhooks.Begin(app, template.Queue != nil)
	large := webhook.NewLargeBodies(webhook.MaxHeld)
	h.intake, err = sidecar.Follow(hub, func(g *sidecar.Generation) (*webhook.Intake, error) {
		known, ok := g.App(app)
		if !ok {
			return nil, unknownApp(g)
		}
		if known.Settings.Static {
			return nil, errors.New("is a static app, which has no client secret to verify webhooks with")
		}
		made := template
		made.Verifier = &webhook.Verifier{
			App: known.Name, Credentials: known.Credentials, Versions: versions, Replays: replays.Replays,
			URL: urlOf(publicURL), Large: large, Foreign: isHandlerError, UsedSecret: known.Secrets.Noting(secretuse.Webhook),
		}
		return &made, nil
	})
	return err
}

func unknownApp(g *sidecar.Generation) error {
	var names []string
	for _, a := range g.Apps() {
		names = append(names, a.Name)
	}
	return fmt.Errorf("the app is not configured; there are: %s", strings.Join(names, ", "))
}

// provisionQueue loads the queue's module, if there is one.
func (h *Webhook) provisionQueue(ctx caddy.Context, hub *sidecar.Sidecar, app string, template *webhook.Intake) error {
	if err := h.checkTogether(); err != nil || h.QueueRaw == nil {
		return err
	}
	deliver, splitter, err := h.Deliver.expand(app)
	if err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	value, err := ctx.LoadModule(h, "QueueRaw")
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	module, ok := value.(queueapi.Module)
	if !ok {
		return fmt.Errorf("queue: module %T is not a queue of webhooks", value)
	}
	queue, err := hub.Queues().Use(app, module, deliver)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	template.Queue, template.Splitter = queue, splitter
	return nil
}

// checkTogether refuses half of what belongs together.
func (h *Webhook) checkTogether() error {
	switch {
	case h.QueueRaw != nil && h.Deliver == nil:
		return errors.New("deliver: say where the queue's webhooks go, as in: deliver http://localhost:3000/hubspot-events")
	case h.QueueRaw == nil && h.Deliver != nil:
		return errors.New("deliver: needs the setting queue; without one the next handler gets the webhooks, such as reverse_proxy")
	}
	return nil
}

// Cleanup gives back what is remembered. Requests under way keep working with it.
func (h *Webhook) Cleanup() error {
	if h.release != nil {
		h.release()
	}
	return nil
}

// ServeHTTP verifies every request.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.intake.Load().Serve(w, r, func(w http.ResponseWriter, r *http.Request) error {
		caddyhttp.SetVar(r.Context(), verifiedVar, true)
		return next.ServeHTTP(w, r)
	})
}

// isHandlerError reports whether an error says with what status another handler
// answers it, as that of the directive request_body does.
func isHandlerError(err error) bool {
	_, ok := errors.AsType[caddyhttp.HandlerError](err)
	return ok
}

// statusOf is how Caddy answers an error.
func statusOf(err error) int {
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok && e.StatusCode != 0 {
		return e.StatusCode
	}
	return http.StatusInternalServerError
}

// pooledReplays remember over config reloads.
type pooledReplays struct{ *webhook.Replays }

func (*pooledReplays) Destruct() error { return nil }

// Interface guards
var (
	_ caddy.Provisioner           = (*Webhook)(nil)
	_ caddy.CleanerUpper          = (*Webhook)(nil)
	_ caddyhttp.MiddlewareHandler = (*Webhook)(nil)
)
