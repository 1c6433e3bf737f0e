// Package vaultstore keeps connections in HashiCorp Vault (or OpenBao), in a
// KV secrets engine of version 2. It knows Vault and not Caddy.
//
// It uses Vault's client library, github.com/hashicorp/vault/api. That reads
// VAULT_* environment variables, such as VAULT_ADDR and VAULT_TOKEN; here
// they have no effect, only [Config] counts. But a variable that the library
// cannot read (VAULT_MAX_RETRIES=many, or VAULT_CACERT with a file that is
// not there) makes [New] fail with an error that names it.
//
// # Layout
//
// No text of a caller stands in a path, because paths are in audit logs and
// listings in clear:
//
//	<mount>/data/<path>/apps/<app>/key                    the app's id key
//	<mount>/data/<path>/connections/<app>/<xx>/<id>       one connection
//	<mount>/data/<path>/control/<name>                    one document for all apps
//
// The id is the HMAC-SHA256 of app and user under the id key; xx are its
// first two digits, so that no folder grows too large to be listed.
//
// # Outages
//
// A call waits for Vault no longer than Config.Timeout. After a few failures
// in a row calls fail at once, and one probe a second finds out when Vault is
// back. Logins are made when they are first needed, renewed ahead of time,
// and made again when Vault says 403 or the token's uses run short.
//
// # Refusals
//
// What the login's policy does not allow is connection.ErrDenied, and no
// outage; [Store.Health] and [Store.CanSave] find out before a request does. A
// secret id that Vault refuses is not tried again before it has changed or
// Vault has forgotten it: Vault locks a role out after a few of them, for all
// who use it.
package vaultstore
