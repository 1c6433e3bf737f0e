package vaultstore_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection/storetest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestConformance runs with the shipped policy, so that it shows that the
// policy is enough as well.
func TestConformance(t *testing.T) {
	t.Parallel()
	v := vault.Server(t)
	fresh := func(t *testing.T) storetest.Backing {
		c := sidecar(t, v)
		return storetest.Backing{
			Open: func(t *testing.T) connection.Store { return open(t, c) },
			Holds: func(t *testing.T, k connection.Key, text string) bool {
				path := recordPath(t, open(t, c), k)
				versions, _ := v.Read(t, c.Mount+"/metadata/"+path)["versions"].(map[string]any)
				for number := range versions {
					_, reply := v.Do(t, v.RootToken, http.MethodGet, c.Mount+"/data/"+path+"?version="+number, nil)
					content, err := json.Marshal(reply)
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(string(content), text) {
						return true
					}
				}
				return false
			},
		}
	}
	storetest.Run(t, fresh)
	storetest.RunDocuments(t, fresh)
}

// TestLayout holds the paths and the id against the documented recipe.
func TestLayout(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	c.Path = "some/where"
	idKey := []byte("0123456789abcdef0123456789abcdef")
	put(t, v, c.Mount+"/data/some/where/apps/hbdev/key", map[string]any{"key": base64.StdEncoding.EncodeToString(idKey)}, 0)
	c.Auth = vaultstore.TokenAuth{Token: secret.New(v.RootToken)}
	s := open(t, c)
	r := record("jane@example.com")
	mustSave(t, s, r, 0)

	h := hmac.New(sha256.New, idKey)
	for _, part := range []string{app, r.User} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	id := hex.EncodeToString(h.Sum(nil)[:16])
	if got, err := s.ID(t.Context(), r.Key); err != nil || got != id {
		t.Errorf("ID = %q, %v; want %q", got, err, id)
	}
	data, _ := v.Read(t, c.Mount+"/data/some/where/connections/hbdev/"+id[:2]+"/"+id)["data"].(map[string]any)
	if data["user"] != r.User || data["write_id"] != r.WriteID {
		t.Errorf("the record is not at its place")
	}
	for name, value := range data {
		if _, ok := value.(string); !ok {
			t.Errorf("field %q is stored as %T; want a string", name, value)
		}
	}
}

// TestIDKeyIsMadeOnce lets many processes use a new app at the same time.
func TestIDKeyIsMadeOnce(t *testing.T) {
	c := sidecar(t, vault.Server(t))
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		s := open(t, c)
		wg.Go(func() {
			var err error
			if ids[i], err = s.ID(t.Context(), key("acme")); err != nil {
				t.Errorf("ID: %v", err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("the processes do not agree on the id: %q", ids)
		}
	}
}

func TestDeletedIDKeyStopsTheApp(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	works(t, open(t, c))
	v.Delete(t, c.Mount+"/data/hubspot/apps/hbdev/key")
	_, err := open(t, c).Load(t.Context(), key("acme"))
	if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "undelete") {
		t.Errorf("Load = %v; want ErrUnavailable with advice to undelete the key", err)
	}
}

// TestDeletedByOperator covers what an operator can do to a record behind
// our back.
func TestDeletedByOperator(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	s := open(t, c)
	for _, tc := range []struct {
		name string
		do   func(path string)
	}{
		{"deleted", func(path string) { v.Delete(t, c.Mount+"/data/"+path) }},
		{"destroyed", func(path string) {
			v.Write(t, c.Mount+"/destroy/"+path, map[string]any{"versions": []int{2}})
		}},
	} {
		r := record(tc.name)
		mustSave(t, s, r, 0)
		mustSave(t, s, r, 1)
		tc.do(recordPath(t, s, r.Key))
		got, err := s.Load(t.Context(), r.Key)
		if err != nil || got.Status != connection.StatusDisconnected || got.Version != 2 || got.Key != r.Key {
			t.Fatalf("%s: Load = %q version %d, %v; want a tombstone of version 2", tc.name, got.Status, got.Version, err)
		}
		if page, err := s.List(t.Context(), app, "", 10); err != nil || len(page.Records) != 0 {
			t.Errorf("%s: List = %d records, %v; want none", tc.name, len(page.Records), err)
		}
		mustSave(t, s, r, got.Version)
		v.Delete(t, c.Mount+"/metadata/"+recordPath(t, s, r.Key))
		if _, err := s.Load(t.Context(), r.Key); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("purged: Load = %v; want ErrNotFound", err)
		}
	}
}

func TestDamagedRecords(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	s := open(t, c)
	good := record("good")
	mustSave(t, s, good, 0)
	others := make(map[string]any)
	for name, value := range good.Encode() {
		others[name] = value
	}
	for name, data := range map[string]map[string]any{
		"a number":         {"app": app, "user": "a number", "status": "disconnected", "hub_id": 5},
		"no status":        {"app": app, "user": "no status"},
		"nothing":          {},
		"somebody else's":  others,
		"a nested object":  {"app": app, "user": "a nested object", "status": map[string]any{"a": "b"}},
		"the wrong person": {"app": app, "user": "not the wrong person", "status": "disconnected"},
	} {
		put(t, v, c.Mount+"/data/"+recordPath(t, s, key(name)), data, 0)
		if _, err := s.Load(t.Context(), key(name)); !errors.Is(err, connection.ErrCorrupt) {
			t.Errorf("%s: Load = %v; want ErrCorrupt", name, err)
		}
	}
	// Keys of no id that this store gave out.
	put(t, v, c.Mount+"/data/hubspot/connections/hbdev/zz/stray", map[string]any{"a": "b"}, 0)
	put(t, v, c.Mount+"/data/hubspot/connections/hbdev/00/stray", map[string]any{"a": "b"}, 0)
	page, err := s.List(t.Context(), app, "", 100)
	if err != nil || len(page.Records) != 1 || page.Records[0].Key != good.Key {
		t.Errorf("List = %d records, %v; want the good one only", len(page.Records), err)
	}
	// A page is filled up although records are left out.
	mustSave(t, s, record("good too"), 0)
	page, err = s.List(t.Context(), app, "", 2)
	if err != nil || len(page.Records) != 2 || page.Next != "" {
		t.Errorf("List of two = %d records, next %q, %v; want both", len(page.Records), page.Next, err)
	}
}

func TestBadArguments(t *testing.T) {
	s := open(t, sidecar(t, vault.Server(t)))
	for name, tc := range map[string]struct {
		do   func() error
		want string
	}{
		"empty user": {func() error { _, err := s.Load(t.Context(), connection.Key{App: app}); return err }, "user"},
		"broken user": {func() error {
			_, err := s.Save(t.Context(), record("a\xffb"), 0)
			return err
		}, "UTF-8"},
		"empty app":     {func() error { _, err := s.ID(t.Context(), connection.Key{User: "a"}); return err }, "app's name"},
		"dots as app":   {func() error { _, err := s.ID(t.Context(), connection.Key{App: "..", User: "a"}); return err }, "app's name"},
		"slash in app":  {func() error { _, err := s.List(t.Context(), "a/b", "", 1); return err }, "app's name"},
		"upper-case":    {func() error { _, err := s.List(t.Context(), "HbDev", "", 1); return err }, "app's name"},
		"no limit":      {func() error { _, err := s.List(t.Context(), app, "", 0); return err }, "limit"},
		"broken cursor": {func() error { _, err := s.List(t.Context(), app, "../../x", 1); return err }, "cursor"},
	} {
		if err := tc.do(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error = %v; want one about %q", name, err, tc.want)
		}
	}
}

// TestLostAnswer loses the answer of a write that Vault has done. The writer
// must be told "don't know" and find its own write.
func TestLostAnswer(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	works(t, open(t, c))
	proxy := newProxy(t, v.Address)
	c.Address = proxy.URL
	s := open(t, c)
	r := record("acme")
	mustSave(t, s, r, 0)

	r.WriteID = "mine"
	proxy.dropAnswers(http.MethodPut)
	if _, err := s.Save(t.Context(), r, 1); !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("Save with a lost answer = %v; want ErrUnavailable", err)
	}
	proxy.dropAnswers("")
	if _, err := s.Save(t.Context(), r, 1); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("the same Save again = %v; want ErrConflict", err)
	}
	if got, err := s.Load(t.Context(), r.Key); err != nil || got.Version != 2 || got.WriteID != "mine" {
		t.Errorf("Load = version %d by %q, %v; want our write, once", got.Version, got.WriteID, err)
	}
}
