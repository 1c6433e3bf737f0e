package stores

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/storeapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// Provision expands placeholders and checks the settings. It does not call
// Vault.
func (s *VaultStore) Provision(caddy.Context) error {
	if err := s.Auth.check(); err != nil {
		return err
	}
	e := settings.NewExpander()
	s.config = vaultstore.Config{
		Address:   e.Text("address", s.Address),
		Mount:     e.Text("mount", s.Mount),
		Path:      e.Text("path", s.Path),
		Namespace: e.Text("namespace", s.Namespace),
		Timeout:   time.Duration(s.Timeout),
		TLS: vaultstore.TLS{
			CAFile:         e.Text("ca", s.CA),
			ClientCertFile: e.Text("client_cert", s.ClientCert),
			ClientKeyFile:  e.Text("client_key", s.ClientKey),
			ServerName:     e.Text("server_name", s.ServerName),
		},
		Auth: s.Auth.expand(e),
	}
	if err := e.Err(); err != nil {
		return err
	}
	// A store of the same settings that is made here and thrown away shows
	// every wrong one; the one that is used may be in the pool already.
	store, err := vaultstore.New(s.config)
	if err != nil {
		return err
	}
	return store.Close()
}

// expand makes the login of its settings.
func (a *VaultAuth) expand(e *placeholder.Expander) vaultstore.Auth {
	mount, role := e.Text("auth: mount", a.Mount), e.Text("auth: role", a.Role)
	tokenFile := e.Text("auth: token_file", a.TokenFile)
	switch a.Method {
	case "token":
		return vaultstore.TokenAuth{Token: e.Secret("auth: token", a.Token)}
	case "token_file":
		return vaultstore.TokenFileAuth{Path: tokenFile}
	case "approle":
		return vaultstore.AppRoleAuth{
			Mount:        mount,
			RoleID:       secret.New(e.Text("auth: role_id", a.RoleID)),
			SecretID:     e.Secret("auth: secret_id", a.SecretID),
			SecretIDFile: e.Text("auth: secret_id_file", a.SecretIDFile),
			Wrapped:      a.SecretIDWrapped,
		}
	case "kubernetes":
		return vaultstore.KubernetesAuth{Mount: mount, Role: role, TokenFile: tokenFile}
	case "jwt":
		return vaultstore.JWTAuth{Mount: mount, Role: role, TokenFile: tokenFile}
	case "cert":
		return vaultstore.CertAuth{Mount: mount, Role: role}
	}
	return nil
}

// StoreSettings implements [storeapi.Module].
func (s *VaultStore) StoreSettings() any { return s.config }

// OpenStore implements [storeapi.Module].
func (s *VaultStore) OpenStore(host storeapi.Host) (storeapi.Store, error) {
	config := s.config
	config.Logger = host.Logger
	store, err := vaultstore.New(config)
	if err != nil {
		return nil, err
	}
	return vaultKeeper{store}, nil
}

// vaultKeeper is a Vault store that keeps client credentials as well.
type vaultKeeper struct{ *vaultstore.Store }

// AppCredentials implements [storeapi.CredentialStore].
func (k vaultKeeper) AppCredentials(ctx context.Context, path string) (clientID, clientSecret, nextSecret string, err error) {
	creds, err := k.Credentials(ctx, path)
	return creds.ClientID, creds.ClientSecret.Reveal(), creds.ClientSecretNext.Reveal(), err
}

// Interface guards
var (
	_ storeapi.Module          = (*VaultStore)(nil)
	_ storeapi.CredentialStore = vaultKeeper{}
	_ storeapi.DocumentStore   = vaultKeeper{}
	_ caddy.Provisioner        = (*VaultStore)(nil)
	_ caddyfile.Unmarshaler    = (*VaultStore)(nil)
)
