package sidecar_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

// onVault returns a Caddyfile with a store in Vault, by a role with a policy.
func onVault(t *testing.T, h *caddytest.Harness, server *vaulttest.Server, mount, policy, global string) string {
	t.Helper()
	role := server.AppRole(t, map[string]any{"token_policies": []string{policy}})
	t.Setenv("VAULT_ROLE_ID", role.RoleID)
	h.WriteFile("secret_id", role.SecretID(t))
	return caddytest.Caddyfile(caddytest.VaultStore(server, role, mount, "")+"\n"+global, caddytest.AuthAndProxy)
}

// TestFreezesOutliveVault takes Vault away, then the process, then the copy.
func TestFreezesOutliveVault(t *testing.T) {
	server := vaulttest.Start(t)
	mount := server.Mount(t)
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	t.Setenv("FALLBACK_KEY", base64.StdEncoding.EncodeToString(key))
	h := caddytest.New(t, caddytest.WithAdmin())
	const cache = "fallback_cache DIR/fallback {\n key {env.FALLBACK_KEY}\n }"
	text := onVault(t, h, server, mount, server.Policy(t, "sidecar.hcl", mount, "hbdev"), cache)
	again := func(text string) {
		t.Helper()
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		h.WaitFor("the process to forget", func() bool { return len(caddytest.Pooled()) == 0 })
		if err := h.Load(text); err != nil {
			t.Fatal(err)
		}
	}
	again(text)
	h.Connect("acme", sandbox.DemoHubID)
	h.Connect("globex", sandbox.DemoHubID)
	h.Freeze(freeze.Selector{User: "acme"})

	server.Stop(t)
	sidecartest.WantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	if got := h.AdminBody(http.MethodPost, adminapi.Freezes, `{"all":true}`, "application/json"); got.StatusCode != 503 {
		t.Errorf("freezing without Vault: %s %s; want 503", got.Status, got.Text)
	}
	again(text)
	sidecartest.WantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	if got := h.Get(contacts, "globex"); got.StatusCode != 200 {
		t.Errorf("whoever is not frozen: %s %s", got.Status, got.Text)
	}
	// Without the copy nobody can say.
	again(strings.Replace(text, cache, "", 1))
	e := sidecartest.WantOwnError(t, h.Get(contacts, "globex"), 503, "store_unavailable")
	if !strings.Contains(e.Message, "frozen") {
		t.Errorf("message: %s", e.Message)
	}
	// With a folder that holds connections and no list, nothing was frozen.
	if err := os.RemoveAll(h.Dir + "/fallback/_control"); err != nil {
		t.Fatal(err)
	}
	again(text)
	if got := h.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Errorf("without a copy of the list: %s %s", got.Status, got.Text)
	}

	server.Restart(t)
	h.WaitFor("the list to be read", func() bool { return h.Get(contacts, "acme").StatusCode == 403 })
	if got := h.Admin(http.MethodGet, "/hubspot/status"); !strings.Contains(got.Text, `"freezes":{"count":1,"known":true`) {
		t.Errorf("status: %s", got.Text)
	}
}

// TestFreezesWithoutPermission has a policy from before there were freezes.
func TestFreezesWithoutPermission(t *testing.T) {
	server := vaulttest.Start(t)
	mount := server.Mount(t)
	content, err := os.ReadFile("../../examples/vault/sidecar.hcl")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer(`"secret/`, `"`+mount+`/`, "hubspot/control", "hubspot/nowhere")
	h := caddytest.New(t, caddytest.WithAdmin())
	if err := h.Load(onVault(t, h, server, mount, server.PolicyText(t, names.Replace(string(content))), "")); err != nil {
		t.Fatal(err)
	}
	h.Connect("acme", sandbox.DemoHubID)
	for range 3 {
		if got := h.Get(contacts, "acme"); got.StatusCode != 200 {
			t.Errorf("calling: %s %s", got.Status, got.Text)
		}
	}
	if n := strings.Count(h.Logs.String(), "the list of freezes cannot be read"); n != 1 {
		t.Errorf("%d warnings; want one", n)
	}
	missing := `path "` + mount + `/data/hubspot/control/*"`
	got := h.AdminBody(http.MethodPost, adminapi.Freezes, `{"user":"acme"}`, "application/json")
	if got.StatusCode != 503 || !strings.Contains(strings.ReplaceAll(got.Text, `\"`, `"`), missing) {
		t.Errorf("freeze: %s %s; want what the policy lacks", got.Status, got.Text)
	}
	if got := h.Admin(http.MethodGet, "/hubspot/ready"); got.StatusCode != 200 {
		t.Errorf("ready: %s %s", got.Status, got.Text)
	}
	if got := h.Admin(http.MethodGet, "/hubspot/status"); !strings.Contains(got.Text, `"problem":"loading document`) {
		t.Errorf("status: %s", got.Text)
	}
}
