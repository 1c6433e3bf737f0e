package vaultstore_test

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestMain lets more tests run at once than there are processors, unless
// -parallel says otherwise: they wait, mostly.
func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set(parallel.Name, "8")
	}
	os.Exit(m.Run())
}

// vault is the server of all tests that neither seal nor stop it.
var vault vaulttest.Shared

const app = "hbdev"

func key(user string) connection.Key { return connection.Key{App: app, User: user} }

func record(user string) connection.Record {
	now := time.Now().UTC()
	return connection.Record{
		Key:          key(user),
		Status:       connection.StatusActive,
		HubID:        62515,
		Generation:   rand.Text(),
		AccessToken:  secret.New("access-" + rand.Text()),
		RefreshToken: secret.New("refresh-" + rand.Text()),
		IssuedAt:     now,
		ExpiresAt:    now.Add(30 * time.Minute),
		ConnectedAt:  now,
		UpdatedAt:    now,
		WriteID:      rand.Text(),
	}
}

// open makes a store and closes it when the test ends.
func open(t *testing.T, c vaultstore.Config) *vaultstore.Store {
	t.Helper()
	s, err := vaultstore.New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// sidecar returns a configuration with a token that has the sidecar's policy
// for all apps, in a new mount.
func sidecar(t *testing.T, v *vaulttest.Server) vaultstore.Config {
	t.Helper()
	mount := v.Mount(t)
	policy := v.Policy(t, "sidecar.hcl", mount, "+")
	token := v.Token(t, map[string]any{"policies": []string{policy}})
	return vaultstore.Config{
		Address: v.Address,
		Mount:   mount,
		Auth:    vaultstore.TokenAuth{Token: secret.New(token)},
	}
}

// appRole returns a role with the sidecar's policy and the configuration of a
// store in a new mount that lacks its Auth.
func appRole(t *testing.T, v *vaulttest.Server, options map[string]any) (*vaulttest.AppRole, vaultstore.Config) {
	t.Helper()
	mount := v.Mount(t)
	all := map[string]any{"token_policies": v.Policy(t, "sidecar.hcl", mount, "+"), "token_ttl": "1h"}
	maps.Copy(all, options)
	return v.AppRole(t, all), vaultstore.Config{Address: v.Address, Mount: mount}
}

// roleAuth logs in with a new secret id.
func roleAuth(t *testing.T, role *vaulttest.AppRole) vaultstore.AppRoleAuth {
	return vaultstore.AppRoleAuth{
		Mount:    role.Mount,
		RoleID:   secret.New(role.RoleID),
		SecretID: secret.New(role.SecretID(t)),
	}
}

func mustSave(t *testing.T, s connection.Store, r connection.Record, based uint64) {
	t.Helper()
	if _, err := s.Save(t.Context(), r, based); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

// works holds that the store can write and read.
func works(t *testing.T, s connection.Store) {
	t.Helper()
	r := record(rand.Text())
	mustSave(t, s, r, 0)
	got, err := s.Load(t.Context(), r.Key)
	if err != nil || got.WriteID != r.WriteID {
		t.Fatalf("Load after Save = version %d, error %v; want what was saved", got.Version, err)
	}
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credential")
	replaceFile(t, path, content)
	return path
}

func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func readLog(t *testing.T, v *vaulttest.Server) string {
	t.Helper()
	content, err := os.ReadFile(v.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// audited counts the requests of the audit log to a path.
func audited(t *testing.T, v *vaulttest.Server, path string) int {
	t.Helper()
	count := 0
	for line := range strings.Lines(readLog(t, v)) {
		var entry struct {
			Type    string
			Request struct{ Path string }
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Type == "request" && entry.Request.Path == path {
			count++
		}
	}
	return count
}

// recordPath returns where a record stands, below data/ and metadata/.
func recordPath(t *testing.T, s *vaultstore.Store, k connection.Key) string {
	t.Helper()
	id, err := s.ID(t.Context(), k)
	if err != nil {
		t.Fatalf("ID: %v", err)
	}
	return "hubspot/connections/" + k.App + "/" + id[:2] + "/" + id
}

// put writes a KV v2 secret as root.
func put(t *testing.T, v *vaulttest.Server, path string, data map[string]any, cas int) {
	t.Helper()
	v.Write(t, path, map[string]any{"data": data, "options": map[string]any{"cas": cas}})
}

// status is what a token gets for a request.
func status(t *testing.T, v *vaulttest.Server, token, method, path string, body any) int {
	t.Helper()
	code, _ := v.Do(t, token, method, path, body)
	return code
}
