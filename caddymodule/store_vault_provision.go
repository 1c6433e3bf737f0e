package caddymodule

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// expander expands the placeholders of settings and keeps the first error.
type expander struct {
	repl *caddy.Replacer
	err  error
}

// text expands a setting; an empty one stays empty.
func (e *expander) text(setting, value string) string {
	expanded, err := e.repl.ReplaceOrErr(value, true, true)
	e.fail(setting, err)
	return expanded
}

// secret expands a setting that must be a placeholder, if it is there.
func (e *expander) secret(setting, value string) secret.Text {
	if value == "" {
		return secret.Text{}
	}
	expanded, err := expandSecret(e.repl, value)
	e.fail(setting, err)
	return expanded
}

func (e *expander) fail(setting string, err error) {
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("%s: %w", setting, err)
	}
}

// Provision expands placeholders and checks the settings. It does not call
// Vault.
func (s *VaultStore) Provision(caddy.Context) error {
	if err := s.Auth.check(); err != nil {
		return err
	}
	e := &expander{repl: caddy.NewReplacer()}
	s.config = vaultstore.Config{
		Address:   e.text("address", s.Address),
		Mount:     e.text("mount", s.Mount),
		Path:      e.text("path", s.Path),
		Namespace: e.text("namespace", s.Namespace),
		Timeout:   time.Duration(s.Timeout),
		TLS: vaultstore.TLS{
			CAFile:         e.text("ca", s.CA),
			ClientCertFile: e.text("client_cert", s.ClientCert),
			ClientKeyFile:  e.text("client_key", s.ClientKey),
			ServerName:     e.text("server_name", s.ServerName),
		},
	}
	s.provisionAuth(e)
	if e.err != nil {
		return e.err
	}
	// A store of the same settings that is made here and thrown away shows
	// every wrong one; the one that is used may be in the pool already.
	store, err := vaultstore.New(s.config)
	if err != nil {
		return err
	}
	return store.Close()
}

// provisionAuth expands the login's settings.
func (s *VaultStore) provisionAuth(e *expander) {
	a := s.Auth
	mount, role := e.text("auth: mount", a.Mount), e.text("auth: role", a.Role)
	tokenFile := e.text("auth: token_file", a.TokenFile)
	token := e.secret("auth: token", a.Token)
	roleID := secret.New(e.text("auth: role_id", a.RoleID))
	secretID, secretIDFile := e.secret("auth: secret_id", a.SecretID), e.text("auth: secret_id_file", a.SecretIDFile)
	switch a.Method {
	case "token":
		s.config.Auth = vaultstore.TokenAuth{Token: token}
	case "token_file":
		s.config.Auth = vaultstore.TokenFileAuth{Path: tokenFile}
	case "approle":
		s.config.Auth = vaultstore.AppRoleAuth{
			Mount: mount, RoleID: roleID,
			SecretID: secretID, SecretIDFile: secretIDFile, Wrapped: a.SecretIDWrapped,
		}
	case "kubernetes":
		s.config.Auth = vaultstore.KubernetesAuth{Mount: mount, Role: role, TokenFile: tokenFile}
	case "jwt":
		s.config.Auth = vaultstore.JWTAuth{Mount: mount, Role: role, TokenFile: tokenFile}
	case "cert":
		s.config.Auth = vaultstore.CertAuth{Mount: mount, Role: role}
	}
	c := s.config
	s.shape = func() []string {
		return []string{
			c.Address, c.Mount, c.Path, c.Namespace, c.Timeout.String(),
			c.TLS.CAFile, c.TLS.ClientCertFile, c.TLS.ClientKeyFile, c.TLS.ServerName,
			a.Method, mount, role, tokenFile, token.Reveal(), roleID.Reveal(),
			secretID.Reveal(), secretIDFile, strconv.FormatBool(a.SecretIDWrapped),
		}
	}
}

// StoreSettings implements [StoreModule].
func (s *VaultStore) StoreSettings() []string { return s.shape() }

// OpenStore implements [StoreModule].
func (s *VaultStore) OpenStore(host StoreHost) (Store, error) {
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

// AppCredentials implements [CredentialStore].
func (k vaultKeeper) AppCredentials(ctx context.Context, path string) (clientID, clientSecret, nextSecret string, err error) {
	creds, err := k.Credentials(ctx, path)
	return creds.ClientID, creds.ClientSecret.Reveal(), creds.ClientSecretNext.Reveal(), err
}

// Interface guards
var (
	_ StoreModule           = (*VaultStore)(nil)
	_ CredentialStore       = vaultKeeper{}
	_ DocumentStore         = vaultKeeper{}
	_ caddy.Provisioner     = (*VaultStore)(nil)
	_ caddyfile.Unmarshaler = (*VaultStore)(nil)
)
