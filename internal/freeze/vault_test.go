package freeze_test

import (
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestOnVault freezes at one sidecar and asks another, each with a login of
// its own, on a real Vault. Five seconds are what is promised.
func TestOnVault(t *testing.T) {
	server := vaulttest.Start(t)
	mount := server.Mount(t)
	policy := server.Policy(t, "sidecar.hcl", mount, "hbdev")
	sidecar := func() *freeze.Keeper {
		token := server.Token(t, map[string]any{"policies": []string{policy}})
		s, err := vaultstore.New(vaultstore.Config{
			Address: server.Address, Mount: mount, Auth: vaultstore.TokenAuth{Token: secret.New(token)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return keeper(t, freeze.Config{Store: s})
	}
	one, two := sidecar(), sidecar()
	if frozen(t, one, acme) || frozen(t, two, acme) {
		t.Fatal("frozen by nobody")
	}
	within := func(what string, done func() bool) {
		t.Helper()
		begun := time.Now()
		for !done() {
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("%s: not within five seconds", what)
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("%s after %v", what, time.Since(begun).Round(time.Millisecond))
	}
	for range 2 {
		mustFreeze(t, one, freeze.Selector{User: "acme"})
		within("frozen", func() bool { return frozen(t, two, acme) })
		if third := sidecar(); !frozen(t, third, acme) {
			t.Error("a sidecar that starts now does not know it")
		}
		if err := two.Unfreeze(t.Context(), freeze.Selector{User: "acme"}); err != nil {
			t.Fatal(err)
		}
		within("lifted", one.None)
	}
}
