package vaultstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

func TestWrongSettings(t *testing.T) {
	dir := t.TempDir()
	notPEM := filepath.Join(dir, "not.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, certKey := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	vaulttest.NewAuthority(t, dir).IssueClient(t, "client", cert, certKey)
	some := secret.New("planted-secret")
	type config = vaultstore.Config
	for _, tc := range []struct {
		name   string
		change func(*config)
		want   string
	}{
		{"no address", func(c *config) { c.Address = "" }, "address is missing"},
		{"no scheme", func(c *config) { c.Address = "vault:8200" }, "address is not a URL"},
		{"other scheme", func(c *config) { c.Address = "ftp://vault:8200" }, "address is not a URL"},
		{"no host", func(c *config) { c.Address = "https://" }, "address is not a URL"},
		{"user in address", func(c *config) { c.Address = "https://u:planted-secret@vault" }, "user, query or fragment"},
		{"version in address", func(c *config) { c.Address = "https://vault:8200/v1/" }, "must not end in /v1"},
		{"query in address", func(c *config) { c.Address = "https://vault?a=b" }, "user, query or fragment"},
		{"dots in mount", func(c *config) { c.Mount = "../sys" }, "mount must be"},
		{"dots in path", func(c *config) { c.Path = "a/../b" }, "path must be"},
		{"glob in path", func(c *config) { c.Path = "a/*" }, "path must be"},
		{"double slash", func(c *config) { c.Mount = "a//b" }, "mount must be"},
		{"space in namespace", func(c *config) { c.Namespace = "a b" }, "namespace"},
		{"negative timeout", func(c *config) { c.Timeout = -time.Second }, "timeout"},
		{"ca over http", func(c *config) { c.Address = "http://vault"; c.TLS.CAFile = cert }, "need https"},
		{"no such ca", func(c *config) { c.TLS.CAFile = filepath.Join(dir, "none") }, "ca: reading"},
		{"ca is no PEM", func(c *config) { c.TLS.CAFile = notPEM }, "ca: the file has no PEM"},
		{"cert without key", func(c *config) { c.TLS.ClientCertFile = cert }, "client_cert and client_key"},
		{"key without cert", func(c *config) { c.TLS.ClientKeyFile = certKey }, "client_cert and client_key"},
		{"swapped cert and key", func(c *config) { c.TLS.ClientCertFile, c.TLS.ClientKeyFile = certKey, cert }, "client_cert: reading"},
		{"no auth", func(c *config) { c.Auth = nil }, "auth is missing"},
		{"empty token", func(c *config) { c.Auth = vaultstore.TokenAuth{} }, "token is empty"},
		{"empty token file", func(c *config) { c.Auth = vaultstore.TokenFileAuth{} }, "token_file is empty"},
		{"no role id", func(c *config) { c.Auth = vaultstore.AppRoleAuth{SecretID: some} }, "role_id"},
		{"no secret id", func(c *config) { c.Auth = vaultstore.AppRoleAuth{RoleID: some} }, "secret_id or secret_id_file"},
		{"two secret ids", func(c *config) {
			c.Auth = vaultstore.AppRoleAuth{RoleID: some, SecretID: some, SecretIDFile: "f"}
		}, "must not both"},
		{"approle mount", func(c *config) {
			c.Auth = vaultstore.AppRoleAuth{RoleID: some, SecretID: some, Mount: "a/../b"}
		}, "approle: mount"},
		{"kubernetes without role", func(c *config) { c.Auth = vaultstore.KubernetesAuth{} }, "kubernetes: role"},
		{"jwt without role", func(c *config) { c.Auth = vaultstore.JWTAuth{TokenFile: "f"} }, "jwt: role"},
		{"jwt without file", func(c *config) { c.Auth = vaultstore.JWTAuth{Role: "r"} }, "jwt: token_file"},
		{"cert without certificate", func(c *config) { c.Auth = vaultstore.CertAuth{} }, "client_cert and client_key"},
		{"cert mount", func(c *config) {
			c.TLS.ClientCertFile, c.TLS.ClientKeyFile = cert, certKey
			c.Auth = vaultstore.CertAuth{Mount: "?"}
		}, "cert: mount"},
	} {
		c := config{Address: "https://vault.example.com:8200", Auth: vaultstore.TokenAuth{Token: some}}
		tc.change(&c)
		s, err := vaultstore.New(c)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: error = %v; want one with %q and no secret", tc.name, err, tc.want)
		}
	}
}

// TestNewTouchesNoNetwork makes a store whose Vault is not there.
func TestNewTouchesNoNetwork(t *testing.T) {
	trap := newTrap(t)
	s, err := vaultstore.New(vaultstore.Config{Address: trap.URL, Auth: vaultstore.TokenFileAuth{Path: "/nonexistent"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := trap.requests.Load(); got != 0 {
		t.Errorf("New sent %d requests; want none", got)
	}
}

func TestPlainHTTPIsWarnedAbout(t *testing.T) {
	for address, want := range map[string]bool{
		"http://vault.example.com:8200": true, "http://10.0.0.5:8200": true,
		"http://localhost:8200": false, "http://127.0.0.1:8200": false, "http://[::1]:8200": false,
		"https://vault.example.com": false,
	} {
		log := new(logtest.Buffer)
		open(t, vaultstore.Config{Address: address, Logger: log.Logger(), Auth: vaultstore.TokenAuth{Token: secret.New("t")}})
		if got := strings.Contains(log.String(), "plain http"); got != want {
			t.Errorf("%s: warned = %v; want %v", address, got, want)
		}
	}
}
