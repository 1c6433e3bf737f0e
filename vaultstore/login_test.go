package vaultstore_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestLogins logs in to a real Vault with every method.
func TestLogins(t *testing.T) {
	v := vault.Server(t)
	for _, tc := range []struct {
		name string
		auth func(t *testing.T, policy string, c *vaultstore.Config) vaultstore.Auth
	}{
		{"token", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			return vaultstore.TokenAuth{Token: secret.New(v.Token(t, map[string]any{"policies": policy, "ttl": "1h"}))}
		}},
		{"token that may not look itself up", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			token := v.Token(t, map[string]any{"policies": policy, "no_default_policy": true})
			return vaultstore.TokenAuth{Token: secret.New(token)}
		}},
		{"batch token", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			token := v.Token(t, map[string]any{"policies": policy, "type": "batch", "ttl": "1h"})
			return vaultstore.TokenAuth{Token: secret.New(token)}
		}},
		{"token file", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			return vaultstore.TokenFileAuth{Path: writeFile(t, v.Token(t, map[string]any{"policies": policy})+"\n")}
		}},
		{"approle", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			return roleAuth(t, v.AppRole(t, map[string]any{"token_policies": policy}))
		}},
		{"approle, secret id in a file", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			role := v.AppRole(t, map[string]any{"token_policies": policy})
			return vaultstore.AppRoleAuth{
				Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretIDFile: writeFile(t, role.SecretID(t)+"\n"),
			}
		}},
		{"approle, wrapped secret id", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			role := v.AppRole(t, map[string]any{"token_policies": policy})
			return vaultstore.AppRoleAuth{
				Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretID: secret.New(role.WrappedSecretID(t)), Wrapped: true,
			}
		}},
		{"kubernetes", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth {
			return kubernetesAuth(t, v, policy)
		}},
		{"jwt", func(t *testing.T, policy string, _ *vaultstore.Config) vaultstore.Auth { return jwtAuth(t, v, policy) }},
		{"cert", func(t *testing.T, policy string, c *vaultstore.Config) vaultstore.Auth {
			return certAuth(t, v, policy, c)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mount := v.Mount(t)
			c := vaultstore.Config{Address: v.Address, Mount: mount}
			c.Auth = tc.auth(t, v.Policy(t, "sidecar.hcl", mount, "+"), &c)
			s := open(t, c)
			works(t, s)
			if err := s.Health(t.Context()); err != nil {
				t.Errorf("Health: %v", err)
			}
		})
	}
}

// TestRefusedLogins names what is wrong, and does not name the credential.
func TestRefusedLogins(t *testing.T) {
	v := vault.Server(t)
	role := v.AppRole(t, map[string]any{"token_policies": "default"})
	wrongJWT := jwtAuth(t, v, "default")
	wrongJWT.TokenFile = writeFile(t, newSigner(t).sign(t, map[string]any{"sub": "sidecar", "aud": "vault", "jti": "planted-secret"}))
	planted := secret.New("planted-secret")
	for _, tc := range []struct {
		name string
		auth vaultstore.Auth
		want string
	}{
		{"token", vaultstore.TokenAuth{Token: planted}, "not valid"},
		{"no token file", vaultstore.TokenFileAuth{Path: filepath.Join(t.TempDir(), "none")}, "no such file"},
		{"empty token file", vaultstore.TokenFileAuth{Path: writeFile(t, " \n")}, "is empty"},
		{"wrapped token file", vaultstore.TokenFileAuth{Path: writeFile(t, `{"token":"planted-secret"}`)}, "holds JSON"},
		{"two words", vaultstore.TokenFileAuth{Path: writeFile(t, "planted-secret two")}, "one word"},
		{"role id", vaultstore.AppRoleAuth{Mount: role.Mount, RoleID: planted, SecretID: planted}, "invalid role"},
		{"secret id", vaultstore.AppRoleAuth{Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretID: planted}, "invalid role or secret ID"},
		{"no such mount", vaultstore.AppRoleAuth{Mount: "nowhere", RoleID: planted, SecretID: planted}, "login's mount"},
		{"jwt of a stranger", wrongJWT, "signature"},
		{"jwt role", vaultstore.JWTAuth{Mount: wrongJWT.Mount, Role: "other", TokenFile: wrongJWT.TokenFile}, "role"},
		{"wrapping token", vaultstore.AppRoleAuth{Mount: role.Mount, RoleID: planted, SecretID: planted, Wrapped: true}, "used before or has expired"},
	} {
		log := new(logtest.Buffer)
		s := open(t, vaultstore.Config{Address: v.Address, Auth: tc.auth, Logger: log.Logger()})
		_, err := s.Load(t.Context(), key("acme"))
		if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Load = %v; want ErrUnavailable with %q", tc.name, err, tc.want)
		}
		if healthy := s.Health(t.Context()); healthy == nil || !strings.Contains(healthy.Error(), tc.want) {
			t.Errorf("%s: Health = %v; want one with %q", tc.name, healthy, tc.want)
		}
		if !strings.Contains(log.String(), tc.want) {
			t.Errorf("%s: the log does not say %q: %s", tc.name, tc.want, log)
		}
		for where, text := range map[string]string{"error": err.Error(), "log": log.String()} {
			if strings.Contains(text, planted.Reveal()) {
				t.Errorf("%s: the %s has the credential: %s", tc.name, where, text)
			}
		}
	}
}
