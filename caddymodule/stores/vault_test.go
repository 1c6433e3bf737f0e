package stores_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

// inVault keeps connections and the app's credentials in Vault.
func inVault(server *vaulttest.Server, role *vaulttest.AppRole, mount, more string) string {
	text := caddytest.Caddyfile(caddytest.VaultStore(server, role, mount, more), caddytest.AuthAndProxy)
	return caddytest.StoredCredentials(text, mount)
}

func TestVault(t *testing.T) {
	server := vaulttest.Start(t)
	mount := server.Mount(t)
	role := server.AppRole(t, map[string]any{"token_policies": []string{server.Policy(t, "sidecar.hcl", mount, "hbdev")}})
	t.Setenv("VAULT_ROLE_ID", role.RoleID)

	h := caddytest.New(t, caddytest.WithAdmin())
	text := inVault(server, role, mount, "secret_id_wrapped")
	// Neither the credentials nor a login are there yet: a config loads
	// without Vault.
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	if got := h.Admin(http.MethodGet, "/hubspot/ready"); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "store vault: ") {
		t.Errorf("ready without a secret id: %s: %s", got.Status, got.Text)
	}
	h.WriteFile("secret_id", role.WrappedSecretID(t))
	server.Write(t, mount+"/data/hubspot-apps/hbdev", map[string]any{
		"data":    map[string]any{"client_id": caddytest.ClientID, "client_secret": caddytest.ClientSecret},
		"options": map[string]any{"cas": 0},
	})
	ready := func(status int) func() bool {
		return func() bool { return h.Admin(http.MethodGet, "/hubspot/ready").StatusCode == status }
	}
	h.WaitFor("the login", ready(http.StatusOK))

	const user = "sales@example.com"
	h.Connect(user, sandbox.DemoHubID)
	call := func(what string) {
		t.Helper()
		if got := h.Get("/crm/objects/2026-09/contacts?limit=1", user); got.StatusCode != http.StatusOK {
			t.Errorf("calling %s: %s: %s", what, got.Status, got.Text)
		}
	}
	call("with Vault up")

	// A reload keeps the login: the wrapped secret id could not be used again.
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	call("after a reload")
	if _, err := h.App("hbdev").Manager.ForceRefresh(t.Context(), user); err != nil {
		t.Errorf("refreshing after a reload: %v", err)
	}

	server.Seal(t)
	h.WaitFor("readiness to fall", ready(http.StatusServiceUnavailable))
	call("with Vault sealed")
	if got := h.Get("/crm/objects/2026-09/contacts?limit=1", "stranger"); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "store_unavailable") {
		t.Errorf("calling for a stranger: %s: %s", got.Status, got.Text)
	}
	if got := h.Admin(http.MethodGet, "/hubspot/live"); got.StatusCode != http.StatusOK {
		t.Errorf("live with Vault sealed: %s", got.Status)
	}
	server.Unseal(t)
	h.WaitFor("readiness to come back", ready(http.StatusOK))
	if got := h.Admin(http.MethodDelete, adminapi.ConnectionPath("hbdev", user)); got.StatusCode != http.StatusOK {
		t.Errorf("disconnecting: %s: %s", got.Status, got.Text)
	}

	audit, err := os.ReadFile(server.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{user, "sales%40example.com", caddytest.ClientSecret} {
		if strings.Contains(string(audit), private) {
			t.Errorf("Vault's audit log holds %q", private)
		}
	}
	if !strings.Contains(string(audit), mount+"/data/hubspot/connections/hbdev/") {
		t.Error("Vault's audit log has no connection: this test sees nothing")
	}
}

func TestVaultRefusesWithoutCredentials(t *testing.T) {
	server := vaulttest.Start(t)
	mount := server.Mount(t)
	role := server.AppRole(t, map[string]any{"token_policies": []string{server.Policy(t, "sidecar.hcl", mount, "hbdev")}})
	t.Setenv("VAULT_ROLE_ID", role.RoleID)
	h := caddytest.New(t)
	if err := os.WriteFile(filepath.Join(h.Dir, "secret_id"), []byte(role.SecretID(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(inVault(server, role, mount, "")); err != nil {
		t.Fatal(err)
	}
	got := h.Get("/hubspot/auth/hbdev?userForeignIdentifier=acme", "")
	if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Text, "store_unavailable") {
		t.Errorf("install link without credentials: %s: %s", got.Status, got.Text)
	}
}
