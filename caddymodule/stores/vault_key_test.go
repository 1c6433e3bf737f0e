package stores

import (
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
)

// TestEverySettingOfVaultIsInItsKey: two stores share one only if no setting
// differs, a secret in the environment included.
func TestEverySettingOfVaultIsInItsKey(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "one")
	plain := func() VaultStore {
		return VaultStore{Address: "https://v:8200", Auth: VaultAuth{Method: "approle", RoleID: "r", SecretID: "{env.VAULT_TOKEN}"}}
	}
	key := func(s VaultStore) pool.Key {
		t.Helper()
		if err := s.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		return pool.KeyOf("store", s.StoreSettings())
	}
	before := key(plain())
	if key(plain()) != before {
		t.Fatal("the same settings have different keys")
	}
	for name, change := range map[string]func(*VaultStore){
		"address":     func(s *VaultStore) { s.Address = "https://w:8200" },
		"mount":       func(s *VaultStore) { s.Mount = "kv" },
		"path":        func(s *VaultStore) { s.Path = "x" },
		"namespace":   func(s *VaultStore) { s.Namespace = "x" },
		"server_name": func(s *VaultStore) { s.ServerName = "x" },
		"timeout":     func(s *VaultStore) { s.Timeout = 7e9 },
		"auth mount":  func(s *VaultStore) { s.Auth.Mount = "x" },
		"role_id":     func(s *VaultStore) { s.Auth.RoleID = "x" },
		"wrapped":     func(s *VaultStore) { s.Auth.SecretIDWrapped = true },
		"method": func(s *VaultStore) {
			s.Auth = VaultAuth{Method: "kubernetes", Role: "r"}
		},
		"method alike": func(s *VaultStore) {
			s.Auth = VaultAuth{Method: "jwt", Role: "r", TokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token"}
		},
		"the secret": func(*VaultStore) { t.Setenv("VAULT_TOKEN", "two") },
	} {
		t.Setenv("VAULT_TOKEN", "one")
		s := plain()
		change(&s)
		if key(s) == before {
			t.Errorf("%s is not in the key", name)
		}
	}
}
