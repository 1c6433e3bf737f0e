// Package caddymodule is the product as Caddy sees it. It registers the app
// module hubspot (the global option of the same name), the handlers and
// directives hubspot_auth, hubspot_proxy and hubspot_sandbox, the
// reverse_proxy transport hubspot, the connection stores
// hubspot.stores.vault and hubspot.stores.caddy, the admin endpoints under
// /hubspot/, and the command caddy hubspot.
//
// It and cmd/caddy are the only packages that know Caddy. What they adapt
// lives below internal/ and in vaultstore.
//
// A module of another author may add a store: see [StoreModule].
package caddymodule
