package sandbox

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/webhooks"
)

// headerChangeSource lets a request say what has changed an object, as webhooks
// have it, such as CRM_UI for a person. HubSpot knows nothing of it. Without it the
// source is the app that makes the request.
const headerChangeSource = "X-Sandbox-Change-Source"

// sourceApp is what HubSpot has for changes that apps make.
const sourceApp = "INTEGRATION"

// WebhooksState is what GET /_sandbox/webhooks answers.
type WebhooksState struct {
	// Targets are where apps are told of changes, by client id.
	Targets map[string]webhooks.Target `json:"targets"`
	webhooks.Stats
}

// webhooksRequest is the body of POST /_sandbox/webhooks.
type webhooksRequest struct {
	// ClientID is the app; empty is every app.
	ClientID string `json:"client_id"`
	// TargetURL is what is called from now on; empty ends it.
	TargetURL string `json:"target_url"`
}

func (w *world) getWebhooks(*http.Request) reply {
	return jsonReply(http.StatusOK, WebhooksState{Targets: w.webhooks.Targets(), Stats: w.webhooks.Stats()})
}

func (w *world) postWebhooks(r *http.Request) reply {
	var req webhooksRequest
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&req); err != nil {
		return sandboxError(http.StatusBadRequest, "the body has client_id and target_url, and nothing else: "+err.Error())
	}
	if req.ClientID != "" && w.apps[req.ClientID] == nil {
		return sandboxError(http.StatusBadRequest, "client_id: there is no app "+strconv.Quote(req.ClientID))
	}
	if req.TargetURL != "" {
		if err := webhooks.CheckURL(req.TargetURL); err != nil {
			return sandboxError(http.StatusBadRequest, "target_url: "+err.Error())
		}
	}
	w.tellApps(req.ClientID, req.TargetURL)
	return w.getWebhooks(r)
}

// tellApps has an app, or all, be told of changes.
func (w *world) tellApps(clientID, targetURL string) {
	for id, app := range w.apps {
		if clientID == "" || clientID == id {
			w.webhooks.Tell(id, webhooks.Target{URL: targetURL, AppID: app.AppID, Secret: app.ClientSecret})
		}
	}
}

// insert, update and archive are those of a table, of which webhooks tell.

func (c *call) insert(t *table, values map[string]string) (*object, error) {
	o, err := t.insert(values, c.portal.now())
	if err == nil {
		e := c.event(t, "creation", o.id)
		e.ChangeFlag = "NEW"
		c.changes = append(c.changes, e)
	}
	return o, err
}

func (c *call) update(t *table, id int64, values map[string]string) (*object, error) {
	before := t.get(id, false)
	o, err := t.update(id, values, c.portal.now())
	if err != nil || o == nil || before == nil {
		return o, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if o.properties[name] == before.properties[name] {
			continue
		}
		e := c.event(t, "propertyChange", id)
		e.PropertyName, e.PropertyValue = name, o.properties[name]
		c.changes = append(c.changes, e)
	}
	return o, nil
}

func (c *call) archive(t *table, id int64) {
	if t.get(id, false) == nil {
		return
	}
	t.archive(id, c.portal.now())
	c.changes = append(c.changes, c.event(t, "deletion", id))
}

func (c *call) event(t *table, what string, id int64) webhooks.Event {
	e := webhooks.Event{PortalID: c.hubID(), SubscriptionType: t.singular + "." + what, ObjectID: id, ChangeSource: sourceApp}
	if source := c.Header.Get(headerChangeSource); source != "" {
		e.ChangeSource = source
		return e
	}
	if c.token.grant != nil {
		e.SourceID = strconv.FormatInt(c.token.grant.app.AppID, 10)
	}
	return e
}

// tell sends what a call has changed to the apps that are installed in the portal.
func (w *world) tell(c *call) {
	if len(c.changes) == 0 {
		return
	}
	for clientID := range w.webhooks.Targets() {
		if w.auth.isInstalled(clientID, c.hubID()) {
			w.webhooks.Send(clientID, c.changes)
		}
	}
}
