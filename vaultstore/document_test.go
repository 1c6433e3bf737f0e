package vaultstore_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestDocumentIsOneRead counts the requests, and looks for the text where it
// must not be.
func TestDocumentIsOneRead(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	s := open(t, c)
	path := c.Mount + "/data/hubspot/control/freezes"
	if _, _, err := s.LoadDocument(t.Context(), "freezes"); !errors.Is(err, connection.ErrNotFound) {
		t.Fatalf("LoadDocument of nothing = %v; want ErrNotFound", err)
	}
	if _, err := s.SaveDocument(t.Context(), "freezes", "planted-text", 0); err != nil {
		t.Fatal(err)
	}
	before, mounts := audited(t, v, path), audited(t, v, "sys/internal/ui/mounts/"+c.Mount)
	for range 5 {
		if text, version, err := s.LoadDocument(t.Context(), "freezes"); err != nil || text != "planted-text" || version != 1 {
			t.Fatalf("LoadDocument = %q, %d, %v", text, version, err)
		}
	}
	if got := audited(t, v, path) - before; got != 5 {
		t.Errorf("five loads made %d requests; want 5", got)
	}
	if got := audited(t, v, "sys/internal/ui/mounts/"+c.Mount) - mounts; got != 0 {
		t.Errorf("five loads asked for the mount %d times; want never", got)
	}
	if strings.Contains(readLog(t, v), "planted-text") {
		t.Error("the audit log shows the document")
	}
}

// TestDeletedDocument covers what an operator can do behind our back.
func TestDeletedDocument(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	s := open(t, c)
	path := "hubspot/control/freezes"
	if _, err := s.SaveDocument(t.Context(), "freezes", "text", 0); err != nil {
		t.Fatal(err)
	}
	v.Delete(t, c.Mount+"/data/"+path)
	if text, version, err := s.LoadDocument(t.Context(), "freezes"); err != nil || text != "" || version != 1 {
		t.Errorf("LoadDocument of a deleted one = %q, %d, %v; want an empty one of version 1", text, version, err)
	}
	put(t, v, c.Mount+"/data/"+path, map[string]any{"text": 5}, 1)
	if _, _, err := s.LoadDocument(t.Context(), "freezes"); !errors.Is(err, connection.ErrCorrupt) {
		t.Errorf("LoadDocument of a number = %v; want ErrCorrupt", err)
	}
	v.Delete(t, c.Mount+"/metadata/"+path)
	if _, _, err := s.LoadDocument(t.Context(), "freezes"); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("LoadDocument of a purged one = %v; want ErrNotFound", err)
	}
}

// oldPolicy is the sidecar's policy without the documents.
func oldPolicy(t *testing.T, v *vaulttest.Server, mount string) string {
	t.Helper()
	content, err := os.ReadFile("../examples/vault/sidecar.hcl")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer(`"secret/`, `"`+mount+`/`, "hbdev", "+", "hubspot/control", "hubspot/nowhere")
	return v.PolicyText(t, names.Replace(string(content)))
}

// TestDocumentsWithoutPermission uses a policy from before there were
// documents: that is said, costs no logins, and changes nothing else.
func TestDocumentsWithoutPermission(t *testing.T) {
	v := vault.Server(t)
	mount := v.Mount(t)
	role := v.AppRole(t, map[string]any{"token_policies": oldPolicy(t, v, mount), "token_ttl": "1h"})
	c := vaultstore.Config{Address: v.Address, Mount: mount, Auth: roleAuth(t, role)}
	s := open(t, c)
	works(t, s)
	for range 10 {
		_, _, err := s.LoadDocument(t.Context(), "freezes")
		if !errors.Is(err, connection.ErrDenied) || errors.Is(err, connection.ErrUnavailable) ||
			!strings.Contains(err.Error(), `path "`+mount+`/data/hubspot/control/*"`) {
			t.Fatalf("LoadDocument = %v; want ErrDenied with what to add to the policy", err)
		}
	}
	if _, err := s.SaveDocument(t.Context(), "freezes", "text", 0); !errors.Is(err, connection.ErrDenied) {
		t.Errorf("SaveDocument = %v; want ErrDenied", err)
	}
	login := "auth/" + role.Mount + "/login"
	if got := audited(t, v, login); got != 1 {
		t.Errorf("logins = %d; want the first one only", got)
	}
	works(t, s)

	// A token that is dead is still found out at once, and by them alone.
	v.Write(t, "sys/leases/revoke-prefix/auth/"+role.Mount, nil)
	if _, _, err := s.LoadDocument(t.Context(), "freezes"); !errors.Is(err, connection.ErrDenied) {
		t.Errorf("LoadDocument with a dead token = %v; want ErrDenied", err)
	}
	if got := audited(t, v, login); got != 2 {
		t.Errorf("logins after the token was revoked = %d; want 2", got)
	}
	works(t, s)
}

// TestDocumentsOutliveTheToken revokes the token of a sidecar that does
// nothing but look at its document.
func TestDocumentsOutliveTheToken(t *testing.T) {
	v := vault.Server(t)
	role, c := appRole(t, v, nil)
	c.Auth = roleAuth(t, role)
	s := open(t, c)
	if _, err := s.SaveDocument(t.Context(), "freezes", "text", 0); err != nil {
		t.Fatal(err)
	}
	v.Write(t, "sys/leases/revoke-prefix/auth/"+role.Mount, nil)
	if text, _, err := s.LoadDocument(t.Context(), "freezes"); err != nil || text != "text" {
		t.Errorf("LoadDocument after the token was revoked = %q, %v; want the text", text, err)
	}
	if got := audited(t, v, "auth/"+role.Mount+"/login"); got != 2 {
		t.Errorf("logins = %d; want 2", got)
	}
}

// TestDocumentLostAnswer loses the answer of a write that Vault has done.
func TestDocumentLostAnswer(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	works(t, open(t, c))
	proxy := newProxy(t, v.Address)
	c.Address = proxy.URL
	s := open(t, c)
	works(t, s)
	proxy.dropAnswers(http.MethodPut)
	if _, err := s.SaveDocument(t.Context(), "freezes", "text", 0); !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("SaveDocument with a lost answer = %v; want ErrUnavailable", err)
	}
	proxy.dropAnswers("")
	if _, err := s.SaveDocument(t.Context(), "freezes", "text", 0); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("the same SaveDocument again = %v; want ErrConflict", err)
	}
}
