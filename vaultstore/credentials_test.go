package vaultstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestCredentials reads with the shipped policy, from the store's mount and
// from another one whose name has a slash.
func TestCredentials(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	other := "team/" + strings.TrimPrefix(c.Mount, "kv-")
	v.Write(t, "sys/mounts/"+other, map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	policies := []string{v.Policy(t, "sidecar.hcl", c.Mount, app), v.Policy(t, "sidecar.hcl", other, app)}
	c.Auth = vaultstore.TokenAuth{Token: secret.New(v.Token(t, map[string]any{"policies": policies}))}
	s := open(t, c)
	for _, mount := range []string{c.Mount, other} {
		path := mount + "/hubspot-apps/hbdev"
		eventually(t, "the new mount is ready", func() bool {
			got := status(t, v, v.RootToken, "PUT", mount+"/data/hubspot-apps/hbdev", map[string]any{
				"data":    map[string]any{"client_id": "id-of-" + mount, "client_secret": "s1"},
				"options": map[string]any{"cas": 0},
			})
			return got == 200
		})
		got, err := s.Credentials(t.Context(), path)
		if err != nil || got.ClientID != "id-of-"+mount || got.ClientSecret.Reveal() != "s1" || !got.ClientSecretNext.IsZero() || got.Version != 1 {
			t.Errorf("Credentials = %+v, %v; want version 1", got, err)
		}
		put(t, v, mount+"/data/hubspot-apps/hbdev", map[string]any{"client_id": "id", "client_secret": "s1", "client_secret_next": "s2"}, 1)
		got, err = s.Credentials(t.Context(), path)
		if err != nil || got.ClientSecretNext.Reveal() != "s2" || got.Version != 2 {
			t.Errorf("Credentials = %+v, %v; want version 2 with the next secret", got, err)
		}
	}
}

func TestUnusableCredentials(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	c.Auth = vaultstore.TokenAuth{Token: secret.New(v.RootToken)}
	s := open(t, c)
	put(t, v, c.Mount+"/data/no-id", map[string]any{"client_secret": "s"}, 0)
	put(t, v, c.Mount+"/data/no-secret", map[string]any{"client_id": "planted", "client_secret": " "}, 0)
	put(t, v, c.Mount+"/data/number", map[string]any{"client_id": 4, "client_secret": "s"}, 0)
	put(t, v, c.Mount+"/data/deleted", map[string]any{"client_id": "planted", "client_secret": "s"}, 0)
	v.Delete(t, c.Mount+"/data/deleted")
	for name, tc := range map[string]struct {
		path, want string
		is         error
	}{
		"nothing":      {c.Mount + "/nothing", "no secret at the path", vaultstore.ErrBadCredentials},
		"no id":        {c.Mount + "/no-id", `"client_id" is missing`, vaultstore.ErrBadCredentials},
		"blank secret": {c.Mount + "/no-secret", `"client_secret" is missing`, vaultstore.ErrBadCredentials},
		"number":       {c.Mount + "/number", "not a string", vaultstore.ErrBadCredentials},
		"deleted":      {c.Mount + "/deleted", "deleted", vaultstore.ErrBadCredentials},
		"only a mount": {c.Mount, "mount and the path", vaultstore.ErrBadCredentials},
		"dots":         {c.Mount + "/../x", "mount and the path", vaultstore.ErrBadCredentials},
		"empty":        {"", "mount and the path", vaultstore.ErrBadCredentials},
		"KV v1":        {v.MountVersion(t, "1") + "/x", "version 1", connection.ErrUnavailable},
		"no mount":     {"nowhere/x", "no such mount", connection.ErrUnavailable},
	} {
		_, err := s.Credentials(t.Context(), tc.path)
		if !errors.Is(err, tc.is) || !strings.Contains(fmt.Sprint(err), tc.want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: error = %v; want %v with %q", name, err, tc.is, tc.want)
		}
	}
}
