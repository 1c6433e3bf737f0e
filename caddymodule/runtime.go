package caddymodule

import (
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// hubApp is one configured HubSpot app at run time: its expanded settings
// and what serves it. It is made by [App.Provision] and never changed, but
// for what it caches.
type hubApp struct {
	// name is the app's name in lower case.
	name      string
	settings  appconfig.Resolved
	endpoints hubspot.Endpoints
	client    *hubspot.Client
	manager   *connection.Manager
	limiter   *quota.Limiter
	sealers   sealerCache
	// app is the module that the hubApp belongs to.
	app *App
}
