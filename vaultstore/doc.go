// Package vaultstore keeps connections in HashiCorp Vault (or OpenBao), in a
// KV secrets engine of version 2. It knows Vault and not Caddy.
//
// It talks to Vault's HTTP API itself, with net/http. Vault's own client
// takes part of its settings from VAULT_* environment variables whatever its
// caller sets (a malformed one fails it, VAULT_TOKEN and VAULT_NAMESPACE come
// back with every clone), retries writes, cleans paths and puts them into its
// errors; here, nothing but [Config] counts.
//
// # Layout
//
// No text of a caller stands in a path, because paths are in audit logs and
// listings in clear:
//
//	<mount>/data/<path>/apps/<app>/key                    the app's id key
//	<mount>/data/<path>/connections/<app>/<xx>/<id>       one connection
//
// The id is the HMAC-SHA256 of app and user under the id key; xx are its
// first two digits, so that no folder grows too large to be listed.
//
// # Outages
//
// A call waits for Vault no longer than Config.Timeout. After a few failures
// in a row calls fail at once, and one probe a second finds out when Vault is
// back. Logins are made when they are first needed, renewed ahead of time,
// and made again when Vault says 403.
package vaultstore
