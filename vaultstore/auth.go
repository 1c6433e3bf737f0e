package vaultstore

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Auth is a way of logging in to Vault.
type Auth interface {
	// check names the first wrong setting.
	check(Config) error
	// method returns the state of the logins of one store.
	method() loginMethod
}

// TokenAuth uses a token that was made for this program. It is renewed as
// long as Vault allows; afterwards it has to be replaced and the store made
// anew, so the other methods are better for anything but a trial.
type TokenAuth struct {
	Token secret.Text
}

func (a TokenAuth) check(Config) error {
	if a.Token.IsZero() {
		return errors.New("token is empty")
	}
	return nil
}

func (a TokenAuth) method() loginMethod { return &tokenLogin{token: a.Token} }

// TokenFileAuth uses the token in a file that somebody else keeps fresh: the
// file sink of a Vault Agent or Proxy, for instance. The file is read again
// every 30 s and when Vault refuses the token; the token is never renewed
// from here. The file may appear later than the store.
type TokenFileAuth struct {
	Path string
}

func (a TokenFileAuth) check(Config) error {
	if a.Path == "" {
		return errors.New("token_file is empty; want the path of a file")
	}
	return nil
}

func (a TokenFileAuth) method() loginMethod { return &tokenFileLogin{path: a.Path} }

// AppRoleAuth logs in with a role id and a secret id
// (https://developer.hashicorp.com/vault/docs/auth/approle).
type AppRoleAuth struct {
	// Mount is where the method is mounted; "approle" if empty.
	Mount string
	// RoleID is the role's id. Required.
	RoleID secret.Text
	// SecretID and SecretIDFile give the secret id; one of them is
	// required. The file is read again for every login and may appear
	// later than the store. A secret id that Vault refused is not tried
	// again before it has changed or 16 minutes have passed.
	SecretID     secret.Text
	SecretIDFile string
	// Wrapped says that a response-wrapping token is given instead of the
	// secret id. It is unwrapped once, after a check that it was made by
	// the role's secret-id endpoint; the secret id stays in memory.
	Wrapped bool
}

func (a AppRoleAuth) check(Config) error {
	switch {
	case a.RoleID.IsZero():
		return errors.New("approle: role_id is empty")
	case a.SecretID.IsZero() && a.SecretIDFile == "":
		return errors.New("approle: secret_id or secret_id_file is missing")
	case !a.SecretID.IsZero() && a.SecretIDFile != "":
		return errors.New("approle: secret_id and secret_id_file must not both be set")
	}
	return checkAuthMount("approle", a.Mount)
}

func (a AppRoleAuth) method() loginMethod {
	a.Mount = cmp.Or(a.Mount, "approle")
	return &appRoleLogin{AppRoleAuth: a}
}

// DefaultServiceAccountTokenFile is where Kubernetes puts a pod's service
// account token.
const DefaultServiceAccountTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// KubernetesAuth logs in with the pod's service account
// (https://developer.hashicorp.com/vault/docs/auth/kubernetes). The token is
// read again for every login, because projected tokens rotate.
type KubernetesAuth struct {
	// Mount is where the method is mounted; "kubernetes" if empty.
	Mount string
	// Role is the role's name. Required.
	Role string
	// TokenFile holds the service account's token;
	// DefaultServiceAccountTokenFile if empty.
	TokenFile string
}

func (a KubernetesAuth) check(Config) error {
	if a.Role == "" {
		return errors.New("kubernetes: role is empty")
	}
	return checkAuthMount("kubernetes", a.Mount)
}

func (a KubernetesAuth) method() loginMethod {
	return &jwtLogin{
		kind: "kubernetes", mount: cmp.Or(a.Mount, "kubernetes"), role: a.Role,
		file: cmp.Or(a.TokenFile, DefaultServiceAccountTokenFile),
	}
}

// JWTAuth logs in with a signed token from a file, such as a workload's
// identity token (https://developer.hashicorp.com/vault/docs/auth/jwt). The
// file is read again for every login.
type JWTAuth struct {
	// Mount is where the method is mounted; "jwt" if empty.
	Mount string
	// Role is the role's name. Required.
	Role string
	// TokenFile holds the JWT. Required.
	TokenFile string
}

func (a JWTAuth) check(Config) error {
	switch {
	case a.Role == "":
		return errors.New("jwt: role is empty")
	case a.TokenFile == "":
		return errors.New("jwt: token_file is empty; want the path of a file")
	}
	return checkAuthMount("jwt", a.Mount)
}

func (a JWTAuth) method() loginMethod {
	return &jwtLogin{kind: "jwt", mount: cmp.Or(a.Mount, "jwt"), role: a.Role, file: a.TokenFile}
}

// CertAuth logs in with the client certificate of [TLS]
// (https://developer.hashicorp.com/vault/docs/auth/cert). The certificate is
// read again for every login, so that it may be rotated; tokens are replaced
// rather than renewed, because a renewal is bound to the certificate of the
// login.
type CertAuth struct {
	// Mount is where the method is mounted; "cert" if empty.
	Mount string
	// Role is the name of the certificate role; empty lets Vault find one
	// that matches.
	Role string
}

func (a CertAuth) check(c Config) error {
	if c.TLS.ClientCertFile == "" {
		return errors.New("cert: client_cert and client_key are missing")
	}
	return checkAuthMount("cert", a.Mount)
}

func (a CertAuth) method() loginMethod {
	return &certLogin{mount: cmp.Or(a.Mount, "cert"), role: a.Role}
}

func checkAuthMount(method, mount string) error {
	if mount == "" {
		return nil
	}
	if err := checkSegments("mount", mount); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}
