// Package stores has the sidecar's own connection stores: the modules
// hubspot.stores.vault and hubspot.stores.caddy.
package stores

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

func init() {
	caddy.RegisterModule(VaultStore{})
}

// VaultStore keeps connections in HashiCorp Vault or OpenBao, in a KV
// version 2 secrets engine. Nothing is asked of Vault before the first
// request that needs it; a Vault that is down or sealed does not keep a
// config from loading.
//
// Placeholders in all settings are expanded when the config is loaded, and
// those of files again when the file changes: another secret is another login.
type VaultStore struct {
	// Where Vault is: `https://vault.internal:8200`. Environment variables
	// such as VAULT_ADDR are not regarded.
	Address string `json:"address,omitempty"`

	// The mount of the KV version 2 secrets engine. Default: `secret`.
	Mount string `json:"mount,omitempty"`

	// The path below the mount under which everything is kept.
	// Default: `hubspot`.
	Path string `json:"path,omitempty"`

	// The Vault namespace. Default: none.
	Namespace string `json:"namespace,omitempty"`

	// How to log in.
	Auth VaultAuth `json:"auth,omitzero"`

	// A file with the certificates, in PEM, of the authorities that may
	// have signed Vault's certificate. Default: those of the system.
	CA string `json:"ca,omitempty"`

	// A file with the certificate that is shown to Vault, in PEM. It is
	// read again when it changes. Default: none.
	ClientCert string `json:"client_cert,omitempty"`

	// A file with the private key of `client_cert`, in PEM.
	ClientKey string `json:"client_key,omitempty"`

	// The name that Vault's certificate must have. Default: the host of
	// the address.
	ServerName string `json:"server_name,omitempty"`

	// How long one call to Vault may take. Default: `3s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// config has the settings with placeholders expanded.
	config vaultstore.Config
}

// VaultAuth is a login to Vault.
type VaultAuth struct {
	// The method: `token`, `token_file`, `approle`, `kubernetes`, `jwt` or
	// `cert`.
	Method string `json:"method,omitempty"`

	// Where the auth method is mounted, without `auth/`. Default: its own
	// name, as in `approle`.
	Mount string `json:"mount,omitempty"`

	// For `token`: the token, as a placeholder such as `{env.VAULT_TOKEN}`.
	Token string `json:"token,omitempty"`

	// For `token_file`: the file that Vault Agent or another program keeps
	// a token in. For `kubernetes` and `jwt`: the file that holds the JWT;
	// the default for `kubernetes` is the service account's. The file is
	// read again for each login.
	TokenFile string `json:"token_file,omitempty"`

	// For `kubernetes`, `jwt` and `cert`: the role to log in to. For
	// `cert` it may be left out.
	Role string `json:"role,omitempty"`

	// For `approle`: the role id.
	RoleID string `json:"role_id,omitempty"`

	// For `approle`: the secret id, as a placeholder. Give this or
	// `secret_id_file`.
	SecretID string `json:"secret_id,omitempty"`

	// For `approle`: the file that holds the secret id. It is read again
	// for each login.
	SecretIDFile string `json:"secret_id_file,omitempty"`

	// For `approle`: the secret id that is given or in the file is a
	// response-wrapping token, which is unwrapped once.
	SecretIDWrapped bool `json:"secret_id_wrapped,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (VaultStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "hubspot.stores.vault",
		New: func() caddy.Module { return new(VaultStore) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store vault <address> {
//	    mount       <mount>
//	    path        <path>
//	    namespace   <namespace>
//	    auth        token <placeholder>
//	    auth        token_file <file>
//	    auth        approle {
//	        role_id           <id>
//	        secret_id         <placeholder>
//	        secret_id_file    <file>
//	        secret_id_wrapped
//	        mount             <mount>
//	    }
//	    auth        kubernetes|jwt {
//	        role        <role>
//	        token_file  <file>
//	        mount       <mount>
//	    }
//	    auth        cert {
//	        role   <role>
//	        mount  <mount>
//	    }
//	    ca          <file>
//	    client_cert <file>
//	    client_key  <file>
//	    server_name <name>
//	    timeout     <duration>
//	}
func (s *VaultStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume store name
	if !d.AllArgs(&s.Address) {
		return d.Err("store vault: give the address of Vault and nothing else before the block, as in: store vault https://vault.internal:8200")
	}
	if err := s.checkAddress(); err != nil && !placeholder.In(s.Address) {
		return d.WrapErr(err)
	}
	err := settings.Block(d, "store vault", map[string]settings.Setting{
		"mount":       settings.Text(&s.Mount),
		"path":        settings.Text(&s.Path),
		"namespace":   settings.Text(&s.Namespace),
		"auth":        {Parse: s.Auth.unmarshalCaddyfile},
		"ca":          settings.Text(&s.CA),
		"client_cert": settings.Text(&s.ClientCert),
		"client_key":  settings.Text(&s.ClientKey),
		"server_name": settings.Text(&s.ServerName),
		"timeout":     settings.Duration(&s.Timeout),
	})
	if err != nil {
		return err
	}
	if s.Auth.Method == "" {
		return d.Errf("store vault: auth is missing: %s", vaultMethods)
	}
	return nil
}

// vaultMethods says how a login is given.
const vaultMethods = "give one of: auth token <placeholder>, auth token_file <file>, auth approle { … }, auth kubernetes { … }, auth jwt { … }, auth cert { … }"

func (a *VaultAuth) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Errf("auth: %s", vaultMethods)
	}
	a.Method = d.Val()
	block, known := a.methodSettings()
	if !known {
		return d.Errf("auth: unknown method %q; %s", a.Method, vaultMethods)
	}
	switch a.Method {
	case "token":
		return settings.Secret(&a.Token).Parse(d)
	case "token_file":
		return settings.Text(&a.TokenFile).Parse(d)
	}
	if d.NextArg() {
		return d.Errf("auth %s: takes no value, but a block of settings", a.Method)
	}
	if err := settings.Block(d, "auth "+a.Method, block); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// methodSettings returns the block settings of the method, and whether there
// is such a method.
func (a *VaultAuth) methodSettings() (map[string]settings.Setting, bool) {
	switch a.Method {
	case "token", "token_file":
		return nil, true
	case "approle":
		return map[string]settings.Setting{
			"role_id":           settings.Text(&a.RoleID),
			"secret_id":         settings.Secret(&a.SecretID),
			"secret_id_file":    settings.Text(&a.SecretIDFile),
			"secret_id_wrapped": settings.Flag(&a.SecretIDWrapped),
			"mount":             settings.Text(&a.Mount),
		}, true
	case "kubernetes", "jwt":
		return map[string]settings.Setting{
			"role":       settings.Text(&a.Role),
			"token_file": settings.Text(&a.TokenFile),
			"mount":      settings.Text(&a.Mount),
		}, true
	case "cert":
		return map[string]settings.Setting{
			"role":  settings.Text(&a.Role),
			"mount": settings.Text(&a.Mount),
		}, true
	}
	return nil, false
}

// check refuses what a method lacks or does not have.
func (a *VaultAuth) check() error {
	missing := func(setting string) error { return fmt.Errorf("auth %s: %s is missing", a.Method, setting) }
	switch a.Method {
	case "":
		return fmt.Errorf("auth: %s", vaultMethods)
	case "token":
		if a.Token == "" {
			return missing("token")
		}
	case "token_file":
		if a.TokenFile == "" {
			return missing("token_file")
		}
	case "approle":
		if a.RoleID == "" {
			return missing("role_id")
		}
		if a.SecretID != "" && a.SecretIDFile != "" {
			return errors.New("auth approle: give secret_id or secret_id_file, not both")
		}
		if a.SecretID == "" && a.SecretIDFile == "" {
			return missing("secret_id or secret_id_file")
		}
	case "kubernetes", "jwt":
		if a.Role == "" {
			return missing("role")
		}
		if a.Method == "jwt" && a.TokenFile == "" {
			return missing("token_file")
		}
	case "cert":
	default:
		return fmt.Errorf("auth: unknown method %q; %s", a.Method, vaultMethods)
	}
	return a.checkForeign()
}

// checkForeign refuses settings that belong to another method.
func (a *VaultAuth) checkForeign() error {
	for setting, given := range map[string]struct {
		set     bool
		methods string
	}{
		"token":             {a.Token != "", "token"},
		"token_file":        {a.TokenFile != "", "token_file, kubernetes and jwt"},
		"role":              {a.Role != "", "kubernetes, jwt and cert"},
		"role_id":           {a.RoleID != "", "approle"},
		"secret_id":         {a.SecretID != "", "approle"},
		"secret_id_file":    {a.SecretIDFile != "", "approle"},
		"secret_id_wrapped": {a.SecretIDWrapped, "approle"},
	} {
		if given.set && !methodTakes(a.Method, setting) {
			return fmt.Errorf("auth %s: %s is a setting of %s", a.Method, setting, given.methods)
		}
	}
	return nil
}

func methodTakes(method, setting string) bool {
	block, _ := (&VaultAuth{Method: method}).methodSettings()
	_, ok := block[setting]
	return ok || method == setting
}

// checkAddress refuses what is not an address.
func (s *VaultStore) checkAddress() error {
	u, err := url.Parse(s.Address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("store vault: address %q: give a URL such as https://vault.internal:8200", s.Address)
	}
	return nil
}
