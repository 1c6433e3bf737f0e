package caddytest

import (
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

// VaultStore is the setting of a store in a Vault, with a login by a role and
// more settings of that. The environment has VAULT_ROLE_ID; DIR/secret_id has
// the secret id.
func VaultStore(server *vaulttest.Server, role *vaulttest.AppRole, mount, more string) string {
	return `store vault ` + server.TLSAddress + ` {
			mount ` + mount + `
			auth approle {
				mount ` + role.Mount + `
				role_id {env.VAULT_ROLE_ID}
				secret_id_file DIR/secret_id
				` + more + `
			}
			ca ` + server.CAFile + `
		}`
}

// StoredCredentials has a Caddyfile take the credentials of the app hbdev from
// a Vault.
func StoredCredentials(caddyfile, mount string) string {
	return strings.NewReplacer(
		"client_id       {env.HUBSPOT_CLIENT_ID}\n", "credentials vault "+mount+"/hubspot-apps/hbdev\n",
		"client_secret   {env.HUBSPOT_CLIENT_SECRET}\n", "",
	).Replace(caddyfile)
}
