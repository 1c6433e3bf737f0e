package vaultstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestTokensWithFewUses works in parallel with tokens that are good for a
// few requests. Nothing may fail, and Vault may refuse nothing.
func TestTokensWithFewUses(t *testing.T) { //nolint:tparallel // its subtests count the uses of one token after the other
	t.Parallel()
	v := vault.Server(t)
	for _, uses := range []int{1, 5, 40} {
		t.Run(fmt.Sprint(uses), func(t *testing.T) {
			role, c := appRole(t, v, map[string]any{"token_num_uses": uses})
			c.Auth = roleAuth(t, role)
			// Those in parallel wait for each other's logins.
			c.Timeout = time.Minute
			s := open(t, c)
			var wg sync.WaitGroup
			workers := min(4*uses, 16)
			for worker := range workers {
				wg.Go(func() {
					r := record(fmt.Sprint("user", worker))
					for version := range uint64(4) {
						if _, err := s.Save(t.Context(), r, version); err != nil {
							t.Errorf("Save: %v", err)
						}
						if got, err := s.Load(t.Context(), r.Key); err != nil || got.Version != version+1 {
							t.Errorf("Load = version %d, %v", got.Version, err)
						}
					}
				})
			}
			wg.Wait()
			for range 3 {
				if err := s.Health(t.Context()); err != nil {
					t.Errorf("Health: %v", err)
				}
			}
			for line := range strings.Lines(readLog(t, v)) {
				if strings.Contains(line, c.Mount+"/") && (strings.Contains(line, "permission denied") || strings.Contains(line, "internal error")) {
					t.Fatalf("Vault refused a request: %.300s", line)
				}
			}
			requests, logins := workers*4*2, audited(t, v, "auth/"+role.Mount+"/login")
			if logins < requests/uses || logins > 2*requests/uses+10 {
				t.Errorf("%d logins for some %d requests; want about one per %d", logins, requests, uses)
			}
		})
	}
}

// TestGivenTokenIsUsedUp has a token that nothing can replace.
func TestGivenTokenIsUsedUp(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	token := v.Token(t, map[string]any{"policies": v.Policy(t, "sidecar.hcl", c.Mount, "+"), "num_uses": 12})
	c.Auth = vaultstore.TokenAuth{Token: secret.New(token)}
	s := open(t, c)
	mustSave(t, s, record("acme"), 0)
	var err error
	for range 12 {
		if _, err = s.Load(t.Context(), key("acme")); err != nil {
			break
		}
	}
	if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "used up") {
		t.Errorf("Load in the end = %v; want ErrUnavailable because the token is used up", err)
	}
}
