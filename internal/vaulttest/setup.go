package vaulttest

import (
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/testserver"
)

func unique(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:12]) }

// Mount mounts a KV v2 secrets engine as the documentation recommends it,
// with max_versions 3 and cas_required, and returns its new name.
func (s *Server) Mount(tb testing.TB) string {
	tb.Helper()
	name := s.MountVersion(tb, "2")
	config := object{"max_versions": 3, "cas_required": true}
	deadline := time.Now().Add(startTimeout)
	for {
		// A new mount answers 400 for a moment, while it sets itself up.
		status, reply := s.Do(tb, s.RootToken, http.MethodPut, name+"/config", config)
		if status < 300 {
			return name
		}
		if time.Now().After(deadline) {
			tb.Fatalf("configuring the mount: status %d, %v", status, reply["errors"])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// MountVersion mounts a KV secrets engine of a version, "1" or "2", without
// settings, and returns its new name.
func (s *Server) MountVersion(tb testing.TB, version string) string {
	tb.Helper()
	name := unique("kv")
	s.Write(tb, "sys/mounts/"+name, object{"type": "kv", "options": object{"version": version}})
	return name
}

// Policy writes one of the policies in examples/vault, for another mount than
// the "secret" of the file and another app than its "hbdev"; "+" is all apps.
// It returns the policy's new name.
func (s *Server) Policy(tb testing.TB, file, mount, app string) string {
	tb.Helper()
	root, err := testserver.ModuleRoot()
	if err != nil {
		tb.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, "examples", "vault", file))
	if err != nil {
		tb.Fatalf("reading the policy: %v", err)
	}
	names := strings.NewReplacer(`"secret/`, `"`+mount+`/`, "hbdev", app)
	return s.PolicyText(tb, names.Replace(string(content)))
}

// PolicyText writes a policy and returns its new name.
func (s *Server) PolicyText(tb testing.TB, text string) string {
	tb.Helper()
	name := unique("policy")
	s.Write(tb, "sys/policies/acl/"+name, object{"policy": text})
	return name
}

// Token creates a token and returns it. options are those of
// auth/token/create.
func (s *Server) Token(tb testing.TB, options map[string]any) string {
	tb.Helper()
	reply := s.must(tb, s.RootToken, http.MethodPut, "auth/token/create", options)
	auth, _ := reply["auth"].(map[string]any)
	token, _ := auth["client_token"].(string)
	if token == "" {
		tb.Fatal("creating a token: the answer has none")
	}
	return token
}

// EnableAuth enables an authentication method under a new name and returns
// that.
func (s *Server) EnableAuth(tb testing.TB, method string) string {
	tb.Helper()
	name := unique(method)
	s.Write(tb, "sys/auth/"+name, object{"type": method})
	return name
}

// AppRole is a role of the AppRole login.
type AppRole struct {
	// Mount is where the login is mounted.
	Mount string
	// Name is the role's.
	Name string
	// RoleID goes into the login together with a secret id.
	RoleID string

	server *Server
}

// AppRole creates a role. options are those of auth/approle/role/<name>.
func (s *Server) AppRole(tb testing.TB, options map[string]any) *AppRole {
	tb.Helper()
	r := &AppRole{Mount: s.EnableAuth(tb, "approle"), Name: unique("role"), server: s}
	s.Write(tb, r.path(), options)
	r.RoleID, _ = s.Read(tb, r.path()+"/role-id")["role_id"].(string)
	if r.RoleID == "" {
		tb.Fatal("creating an AppRole: it has no role id")
	}
	return r
}

func (r *AppRole) path() string { return "auth/" + r.Mount + "/role/" + r.Name }

// SecretID creates a secret id.
func (r *AppRole) SecretID(tb testing.TB) string {
	tb.Helper()
	id, _ := r.server.Write(tb, r.path()+"/secret-id", object{})["secret_id"].(string)
	if id == "" {
		tb.Fatal("creating a secret id: the answer has none")
	}
	return id
}

// WrappedSecretID creates a secret id and returns the token that unwraps it,
// once.
func (r *AppRole) WrappedSecretID(tb testing.TB) string {
	tb.Helper()
	return r.server.Wrapped(tb, r.path()+"/secret-id", object{})
}

// Wrapped writes as root and returns the token that unwraps the answer, once.
func (s *Server) Wrapped(tb testing.TB, path string, body map[string]any) string {
	tb.Helper()
	status, reply := s.send(tb, request{token: s.RootToken, method: http.MethodPut, path: path, body: body, wrapTTL: "5m"})
	wrap, _ := reply["wrap_info"].(map[string]any)
	token, _ := wrap["token"].(string)
	if token == "" {
		tb.Fatalf("wrapping: status %d and no token", status)
	}
	return token
}
