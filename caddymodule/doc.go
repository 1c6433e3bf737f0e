// Package caddymodule registers all modules of caddy-hubspot with Caddy. It is
// what a build imports, and the map of where things are.
//
// What Caddy loads, each in a package of its own that has the module's
// settings, its Caddyfile, its provisioning, and hardly anything else:
//
//	hubspot                        sidecar    the global option: apps, callers, store, audit log
//	http.handlers.hubspot_proxy    proxy      calls to HubSpot's API for a user
//	http.handlers.hubspot_auth     auth       installs, connections, user tokens
//	http.handlers.hubspot_health   health     liveness and readiness for probes
//	http.handlers.hubspot_webhook  webhook    what HubSpot sends, verified, and handed on or queued; and its guard
//	http.handlers.hubspot_sandbox  sandbox    a made-up HubSpot to develop against
//	hubspot.stores.vault           stores     connections in HashiCorp Vault or OpenBao
//	hubspot.stores.caddy           stores     connections in Caddy's storage, encrypted
//	hubspot.queues.file            queues     webhooks on this machine's disk, until they are delivered
//	hubspot.queues.nats            queues     webhooks in NATS JetStream, for several machines
//	admin.api.hubspot              admin      /hubspot/… of Caddy's admin API
//	caddy hubspot …                command    the command line
//
// These build on some that are no modules: settings reads a Caddyfile, pool
// keeps what outlives a config reload, queueset the queues of webhooks among it,
// and storeapi and queueapi are what the author of another store or queue
// implements. Package caddytest runs all of it for tests.
//
// The modules do not know each other, but for sidecar, and nothing else in the
// program knows Caddy. What they adapt is below internal:
//
//	relay        one call to HubSpot and back
//	install      a browser through an install
//	callerapi    what callers ask beside calls: links, connections, user tokens
//	admission    who calls, what the policy permits, what is frozen
//	access       callers, their keys and policies; jwtauth, peercred: who they are
//	hubapp       a HubSpot app at run time; appconfig: its settings
//	connection   a user's tokens, and their refresh among many sidecars
//	quota        HubSpot's limits, kept
//	hubspot      HubSpot's protocol, and all that is known of its API
//	sunset       endpoints that HubSpot ends, and who calls them
//	freeze       what operators have frozen
//	audit        the audit log; metrics: the metrics; adminapi: the admin API's answers
//	webhook      what HubSpot sends: verified, and taken apart
//	webhookqueue what keeps it, as an interface; filequeue: on this machine's disk;
//	             natsqueue: in NATS JetStream
//	webhookdelivery  from a queue to the app behind; portalusers: whose it is
//	sealedstore  connections in files, encrypted; vaultstore, beside internal: in Vault
//	sandbox      the made-up HubSpot
package caddymodule

import (
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/admin"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/auth"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/command"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/health"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/proxy"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/queues"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/sandbox"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/stores"
	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule/webhook"
)
