package vaultstore_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

func TestWrappedSecretID(t *testing.T) {
	t.Parallel()
	v := vault.Server(t)
	role, c := appRole(t, v, map[string]any{"token_ttl": "2s", "token_max_ttl": "2s"})
	wrapping := role.WrappedSecretID(t)
	withFile := func() (*vaultstore.Store, string) {
		file := writeFile(t, wrapping)
		c.Auth = vaultstore.AppRoleAuth{Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretIDFile: file, Wrapped: true}
		return open(t, c), file
	}
	first, firstFile := withFile()
	works(t, first)

	second, secondFile := withFile()
	_, err := second.Load(t.Context(), key("acme"))
	if err == nil || !strings.Contains(err.Error(), "used before") {
		t.Errorf("a second unwrapping: error = %v; want one that says so", err)
	}
	replaceFile(t, secondFile, role.WrappedSecretID(t))
	eventually(t, "a new wrapping token mends the second store", func() bool {
		_, err := second.Load(t.Context(), key("acme"))
		return errors.Is(err, connection.ErrNotFound)
	})
	if err := second.Close(); err != nil {
		t.Error(err)
	}

	// The first keeps what it unwrapped, over its tokens' end and the file's.
	if err := os.Remove(firstFile); err != nil {
		t.Fatal(err)
	}
	logins := audited(t, v, "auth/"+role.Mount+"/login")
	eventually(t, "two more logins", func() bool {
		return audited(t, v, "auth/"+role.Mount+"/login") >= logins+2
	})
	works(t, first)
}

// TestInterceptedSecretID wraps a secret id as a thief would, who wants
// nobody to notice that he has it.
func TestInterceptedSecretID(t *testing.T) {
	v := vault.Server(t)
	role, c := appRole(t, v, nil)
	rewrapped := v.Wrapped(t, "sys/wrapping/wrap", map[string]any{"secret_id": role.SecretID(t)})
	c.Auth = vaultstore.AppRoleAuth{
		Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretID: secret.New(rewrapped), Wrapped: true,
	}
	_, err := open(t, c).Load(t.Context(), key("acme"))
	if err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("Load = %v; want a refusal of the wrapping token", err)
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	policy := v.Policy(t, "sidecar.hcl", c.Mount, "+")
	token := func() string { return v.Token(t, map[string]any{"policies": policy}) }
	first := token()
	file := writeFile(t, first)
	c.Auth = vaultstore.TokenFileAuth{Path: file}
	s := open(t, c)
	works(t, s)
	replaceFile(t, file, token())
	v.Write(t, "auth/token/revoke", map[string]any{"token": first})
	works(t, s)
}

// TestRevokedTokenIsReplaced takes the token away between two calls.
func TestRevokedTokenIsReplaced(t *testing.T) {
	v := vault.Server(t)
	role, c := appRole(t, v, nil)
	c.Auth = roleAuth(t, role)
	s := open(t, c)
	works(t, s)
	login := "auth/" + role.Mount + "/login"
	if got := audited(t, v, login); got != 1 {
		t.Fatalf("logins = %d; want 1", got)
	}
	v.Write(t, "sys/leases/revoke-prefix/auth/"+role.Mount, nil)
	works(t, s)
	if got := audited(t, v, login); got != 2 {
		t.Errorf("logins after the token was revoked = %d; want 2", got)
	}
}

// TestHealthFindsADeadLogin takes away the token and the way to another.
func TestHealthFindsADeadLogin(t *testing.T) {
	v := vault.Server(t)
	role, c := appRole(t, v, nil)
	c.Auth = roleAuth(t, role)
	s := open(t, c)
	works(t, s)
	if err := s.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.Delete(t, "sys/auth/"+role.Mount)
	if err := s.Health(t.Context()); !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "approle") {
		t.Errorf("Health without a login = %v; want ErrUnavailable because of the login", err)
	}
}

// TestLoginOutlivesItsTokens uses tokens that live for two seconds and at
// most four.
func TestLoginOutlivesItsTokens(t *testing.T) {
	t.Parallel()
	v := vault.Server(t)
	role, c := appRole(t, v, map[string]any{"token_ttl": "2s", "token_max_ttl": "4s"})
	c.Auth = roleAuth(t, role)
	s := open(t, c)
	works(t, s)
	renewed := audited(t, v, "auth/token/renew-self")
	for audited(t, v, "auth/"+role.Mount+"/login") < 3 {
		if _, err := s.Load(t.Context(), key("acme")); !errors.Is(err, connection.ErrNotFound) {
			t.Fatalf("Load = %v; want ErrNotFound all the time", err)
		}
	}
	if audited(t, v, "auth/token/renew-self") == renewed {
		t.Error("the token was never renewed")
	}
	for line := range strings.Lines(readLog(t, v)) {
		if strings.Contains(line, c.Mount+"/data/hubspot/connections") && strings.Contains(line, "permission denied") {
			t.Error("a request went out with a token that was dead")
		}
	}
}

// TestRotatedCertificate replaces the client certificate by one of another
// authority, the only one that Vault then trusts.
func TestRotatedCertificate(t *testing.T) {
	v := vault.Server(t)
	mount := v.Mount(t)
	policy := v.Policy(t, "sidecar.hcl", mount, "+")
	c := vaultstore.Config{Mount: mount}
	auth := certAuth(t, v, policy, &c)
	c.Auth = auth
	s := open(t, c)
	works(t, s)

	next := vaulttest.NewAuthority(t, t.TempDir())
	pemCert, err := os.ReadFile(next.File)
	if err != nil {
		t.Fatal(err)
	}
	v.Write(t, "auth/"+auth.Mount+"/certs/sidecar", map[string]any{"certificate": string(pemCert), "token_policies": policy, "token_ttl": "2s"})
	next.IssueClient(t, "sidecar", c.TLS.ClientCertFile, c.TLS.ClientKeyFile)
	logins, renewals := audited(t, v, "auth/"+auth.Mount+"/login"), audited(t, v, "auth/token/renew-self")
	eventually(t, "two logins with the new certificate", func() bool {
		return audited(t, v, "auth/"+auth.Mount+"/login") >= logins+2
	})
	works(t, s)
	if got := audited(t, v, "auth/token/renew-self"); got != renewals {
		t.Errorf("renewals = %d; want none, which the new certificate may not do", got-renewals)
	}
}

// TestWrongSecretIDLocksNobodyOut uses a wrong secret id for longer than it
// would take to lock the role, and a wrapping token that is not declared.
func TestWrongSecretIDLocksNobodyOut(t *testing.T) {
	t.Parallel()
	v := vault.Server(t)
	role, c := appRole(t, v, nil)
	file := writeFile(t, "b2b7e1d0-0000-4000-8000-000000000000")
	c.Auth = vaultstore.AppRoleAuth{Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretIDFile: file}
	wrong := open(t, c)
	login := "auth/" + role.Mount + "/login"
	for started := time.Now(); time.Since(started) < 8*time.Second; time.Sleep(50 * time.Millisecond) {
		if _, err := wrong.Load(t.Context(), key("acme")); !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "sys/locked-users") {
			t.Fatalf("Load with a wrong secret id = %v; want ErrUnavailable with a word about lockouts", err)
		}
	}
	if got := audited(t, v, login); got != 1 {
		t.Errorf("logins with a wrong secret id = %d; want 1", got)
	}

	wrapping := role.WrappedSecretID(t)
	replaceFile(t, file, wrapping)
	eventually(t, "the wrapping token is called one", func() bool {
		_, err := wrong.Load(t.Context(), key("acme"))
		return err != nil && strings.Contains(err.Error(), "set secret_id_wrapped")
	})
	if got := audited(t, v, login); got != 1 {
		t.Errorf("logins with a wrapping token = %d; want none", got-1)
	}
	replaceFile(t, file, v.RootToken)
	eventually(t, "the token is called one", func() bool {
		_, err := wrong.Load(t.Context(), key("acme"))
		return err != nil && strings.Contains(err.Error(), "a Vault token stands")
	})

	// The wrapping token was not used up, and the role is not locked.
	c.Auth = vaultstore.AppRoleAuth{Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretID: secret.New(wrapping), Wrapped: true}
	works(t, open(t, c))
	replaceFile(t, file, role.SecretID(t))
	eventually(t, "the right secret id is used", func() bool {
		_, err := wrong.Load(t.Context(), key("acme"))
		return errors.Is(err, connection.ErrNotFound)
	})
	if got, _ := v.Read(t, "sys/locked-users")["total"].(float64); got != 0 {
		t.Errorf("%v users are locked out; want none", got)
	}
}

// TestLockedOutRole locks a role out with somebody else's wrong secret ids,
// and unlocks it in the way that the message tells.
func TestLockedOutRole(t *testing.T) {
	v := vault.Server(t)
	role, c := appRole(t, v, nil)
	login := "auth/" + role.Mount + "/login"
	wrong := map[string]any{"role_id": role.RoleID, "secret_id": "wrong"}
	for range 5 {
		_ = status(t, v, "", "PUT", login, wrong)
	}
	c.Auth = roleAuth(t, role)
	_, err := open(t, c).Load(t.Context(), key("acme"))
	if err == nil || !strings.Contains(err.Error(), "a role that is locked out") || !strings.Contains(err.Error(), "sys/auth/"+role.Mount+"/tune") {
		t.Errorf("Load with a role that is locked out = %v; want an error that says so", err)
	}
	accessor, _ := v.Read(t, "sys/auth/"+role.Mount)["accessor"].(string)
	v.Write(t, "sys/locked-users/"+accessor+"/unlock/"+role.RoleID, nil)
	works(t, open(t, c))
}
