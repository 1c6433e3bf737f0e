package command_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

// A running sidecar moves from Caddy's storage to a real Vault: no call fails
// while it does, a freeze and a disconnect stay what they are, and afterwards
// the old store is not needed.
func TestMoveFromCaddyToVault(t *testing.T) {
	server := vaulttest.Start(t)
	mount := server.Mount(t)
	role := server.AppRole(t, map[string]any{"token_policies": []string{server.Policy(t, "sidecar.hcl", mount, "hbdev")}})
	t.Setenv("VAULT_ROLE_ID", role.RoleID)
	h := caddytest.Start(t, caddytest.Unpaced(caddytest.Caddyfile("store caddy", caddytest.AuthAndProxy)), caddytest.WithAdmin())
	h.WriteFile("secret_id", role.SecretID(t))
	address := "--address=unix/" + h.AdminSocket()

	h.Connect("first", sandbox.DemoHubID)
	first, err := h.App("hbdev").Manager.Token(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	access := first.Access.Reveal()
	const users = 60
	for n := range users {
		h.ConnectAs(fmt.Sprint("user-", n), access)
	}
	h.ConnectAs("gone", access)
	if _, err := h.App("hbdev").Manager.Disconnect(t.Context(), "gone", connection.DisconnectOptions{}); err != nil {
		t.Fatal(err)
	}
	h.Freeze(freeze.Selector{User: "frozen"})
	if _, err := runCommand(t, "move", address); err == nil || !strings.Contains(err.Error(), "has no migrate_from") {
		t.Errorf("without migrate_from: %v", err)
	}

	vault := caddytest.VaultStore(server, role, mount, "")
	if err := h.Load(caddytest.Unpaced(caddytest.Caddyfile(vault+"\nmigrate_from caddy", caddytest.AuthAndProxy))); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var calls sync.WaitGroup
	for worker := range 4 {
		calls.Go(func() {
			for n := worker; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if got := h.Get(contacts+"?limit=1", fmt.Sprint("user-", n%users)); got.StatusCode != 200 {
					t.Errorf("a call while it moves: %s %s", got.Status, got.Text)
					return
				}
			}
		})
	}
	out, err := runCommand(t, "move", address)
	close(stop)
	calls.Wait()
	if err != nil || !strings.Contains(out, "migrate_from can go") {
		t.Fatalf("%v, %s", err, out)
	}

	if err := h.Load(caddytest.Unpaced(caddytest.Caddyfile(vault, caddytest.AuthAndProxy))); err != nil {
		t.Fatal(err)
	}
	for n := range users {
		if got := h.Get(contacts+"?limit=1", fmt.Sprint("user-", n)); got.StatusCode != 200 {
			t.Fatalf("after it: %s %s", got.Status, got.Text)
		}
	}
	sidecartest.WantOwnError(t, h.Get(contacts, "gone"), 404, "not_connected")
	sidecartest.WantOwnError(t, h.Get(contacts, "frozen"), 403, "frozen")
	if answer := h.Admin(http.MethodGet, "/hubspot/ready"); answer.StatusCode != 200 {
		t.Errorf("not ready: %s", answer.Text)
	}
	for _, grant := range h.Sandbox.Stats().Grants {
		if grant.MaxConcurrentRefreshes > 1 {
			t.Errorf("refreshes at once: %+v", grant)
		}
	}
}
