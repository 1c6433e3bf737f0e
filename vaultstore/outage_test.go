package vaultstore_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestOutages takes a Vault away in three ways under a store in use, which
// must fail fast, say why, and work again by itself.
func TestOutages(t *testing.T) {
	t.Parallel()
	v := vaulttest.Start(t)
	role, c := appRole(t, v, nil)
	c.Auth = roleAuth(t, role)
	log := new(logtest.Buffer)
	c.Logger = log.Logger()
	s := open(t, c)
	r := record("acme")
	mustSave(t, s, r, 0)
	for _, tc := range []struct {
		name     string
		down, up func()
		want     string
	}{
		{"sealed", func() { v.Seal(t) }, func() { v.Unseal(t) }, "sealed"},
		{"stopped", func() { v.Stop(t) }, func() { v.Restart(t) }, "connection refused"},
		{"sealed again", func() { v.Seal(t) }, func() { v.Unseal(t) }, "sealed"},
	} {
		tc.down()
		started := time.Now()
		for range 20 {
			_, loading := s.Load(t.Context(), r.Key)
			_, saving := s.Save(t.Context(), r, 1)
			for _, err := range []error{loading, saving} {
				if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), tc.want) {
					t.Fatalf("%s: error = %v; want ErrUnavailable with %q", tc.name, err, tc.want)
				}
			}
		}
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("%s: 40 calls took %v; want them to fail fast", tc.name, took)
		}
		if err := s.Health(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Health = %v; want one with %q", tc.name, err, tc.want)
		}
		tc.up()
		eventually(t, "Vault is used again after it was "+tc.name, func() bool {
			got, err := s.Load(t.Context(), r.Key)
			return err == nil && got.Version == 1
		})
		if err := s.Health(t.Context()); err != nil {
			t.Errorf("%s: Health afterwards = %v", tc.name, err)
		}
	}
	if got := strings.Count(log.String(), "vault answers again"); got != 3 {
		t.Errorf("the log has %d ends of an outage; want 3:\n%s", got, log)
	}
}

// TestSealedFromTheStart starts a store while Vault is sealed.
func TestSealedFromTheStart(t *testing.T) {
	t.Parallel()
	v := vaulttest.Start(t)
	role, c := appRole(t, v, nil)
	c.Auth = roleAuth(t, role)
	v.Seal(t)
	s := open(t, c)
	_, err := s.Load(t.Context(), key("acme"))
	if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("Load = %v; want ErrUnavailable because Vault is sealed", err)
	}
	v.Unseal(t)
	eventually(t, "the store works", func() bool {
		_, err := s.Load(t.Context(), key("acme"))
		return errors.Is(err, connection.ErrNotFound)
	})
}

// TestSilence is a Vault that accepts connections and never answers.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = l.Close() })
	s := open(t, vaultstore.Config{
		Address: "http://" + l.Addr().String(), Timeout: 200 * time.Millisecond, Auth: vaultstore.TokenAuth{Token: secret.New("t")},
	})
	started := time.Now()
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if _, err := s.Load(t.Context(), key("acme")); !errors.Is(err, connection.ErrUnavailable) {
				t.Errorf("Load = %v; want ErrUnavailable", err)
			}
		})
	}
	calls.Wait()
	for range 100 {
		if _, err := s.Load(t.Context(), key("acme")); !errors.Is(err, connection.ErrUnavailable) {
			t.Fatalf("Load = %v; want ErrUnavailable", err)
		}
		if _, err := s.Credentials(t.Context(), "secret/hubspot-apps/hbdev"); !errors.Is(err, connection.ErrUnavailable) {
			t.Fatalf("Credentials = %v; want ErrUnavailable", err)
		}
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("210 calls took %v; want a little more than the timeout of 200ms", took)
	}
}

// TestRefusedRequests answers for Vault. What is no outage must not close the
// way for other requests.
func TestRefusedRequests(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	proxy := newProxy(t, v.Address)
	c.Address = proxy.URL
	s := open(t, c)
	r := record("acme")
	mustSave(t, s, r, 0)
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"quota", 429, `{"errors":["request path \"secret\": rate limit quota exceeded"]}`, "rate limit"},
		{"upgrading mount", 400, `{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly."]}`, "set up"},
		{"a proxy's 404", 404, `<html>Not Found</html>`, "mount and namespace"},
		{"an empty 404", 404, ``, "mount and namespace"},
		{"a proxy's 200", 200, `<html>Welcome</html>`, "not vault's"},
		{"an empty object", 200, `{}`, "not vault's"},
		{"an empty 200", 200, ``, "not vault's"},
		{"no content", 204, ``, "not vault's"},
		{"a 200 with an error", 200, `{"errors":[]}`, "not vault's"},
		{"no route", 404, `{"errors":["no handler for route \"secret/data/x\". route entry not found."]}`, "mount and namespace"},
	} {
		proxy.answerWith(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		for range 10 {
			_, err := s.Load(t.Context(), r.Key)
			if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Fatalf("%s: Load = %v; want ErrUnavailable with %q", tc.name, err, tc.want)
			}
		}
		proxy.answerWith(nil)
		if _, err := s.Load(t.Context(), r.Key); err != nil {
			t.Errorf("%s: Load afterwards = %v", tc.name, err)
		}
	}
	proxy.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"errors":["could not find version data"]}`, http.StatusInternalServerError)
	})
	for range 10 {
		if _, err := s.Load(t.Context(), r.Key); !errors.Is(err, connection.ErrCorrupt) {
			t.Fatalf("lost content: Load = %v; want ErrCorrupt", err)
		}
	}
}

// TestQuota runs into a real rate limit of Vault.
func TestQuota(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	s := open(t, c)
	works(t, s)
	name := "sys/quotas/rate-limit/" + c.Mount
	v.Write(t, name, map[string]any{"path": c.Mount, "rate": 1, "interval": "1h"})
	t.Cleanup(func() { v.Delete(t, name) })
	var err error
	eventually(t, "the quota is used up", func() bool {
		_, err = s.Load(t.Context(), key("acme"))
		return !errors.Is(err, connection.ErrNotFound)
	})
	if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "rate limit") {
		t.Errorf("Load = %v; want ErrUnavailable because of the rate limit", err)
	}
	for range 10 {
		_, _ = s.Load(t.Context(), key("acme"))
	}
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("Health = %v; want none, because Vault is well", err)
	}
}

func TestWrongMounts(t *testing.T) {
	v := vault.Server(t)
	one := v.MountVersion(t, "1")
	for name, tc := range map[string]struct{ mount, want string }{
		"KV v1":        {one, "version 1"},
		"none":         {"nowhere", "no such mount"},
		"not KV":       {"cubbyhole", "not a KV"},
		"part of one":  {v.Mount(t) + "/sub", "part of another"},
		"part of KV 1": {one + "/sub", "version 1"},
	} {
		s := open(t, vaultstore.Config{Address: v.Address, Mount: tc.mount, Auth: vaultstore.TokenAuth{Token: secret.New(v.RootToken)}})
		_, saving := s.Save(t.Context(), record("acme"), 0)
		_, listing := s.List(t.Context(), app, "", 1)
		for call, err := range map[string]error{"Save": saving, "List": listing, "Health": s.Health(t.Context())} {
			if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("%s: %s = %v; want ErrUnavailable with %q", name, call, err, tc.want)
			}
		}
	}
	if code := status(t, v, v.RootToken, "LIST", one+"/", nil); code != http.StatusNotFound {
		t.Errorf("listing the KV v1 mount = %d; want 404, because nothing was written", code)
	}
}

// TestMountIsReplaced takes the store's mount away and puts a KV v1 mount in
// its place.
func TestMountIsReplaced(t *testing.T) {
	v := vault.Server(t)
	for name, first := range map[string]func(s *vaultstore.Store) error{
		"Save": func(s *vaultstore.Store) error { _, err := s.Save(t.Context(), record("acme"), 1); return err },
		"Load": func(s *vaultstore.Store) error { _, err := s.Load(t.Context(), key("acme")); return err },
	} {
		c := sidecar(t, v)
		c.Auth = vaultstore.TokenAuth{Token: secret.New(v.RootToken)}
		s := open(t, c)
		mustSave(t, s, record("acme"), 0)
		v.Delete(t, "sys/mounts/"+c.Mount)
		if err := first(s); !errors.Is(err, connection.ErrUnavailable) {
			t.Errorf("%s without the mount = %v; want ErrUnavailable", name, err)
		}
		v.Write(t, "sys/mounts/"+c.Mount, map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
		if err := first(s); !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "version 1") {
			t.Errorf("%s with KV v1 = %v; want ErrUnavailable because of the version", name, err)
		}
	}
}

// TestMountIsReplacedUnseen has no failure in between that could make the
// store look at the mount again.
func TestMountIsReplacedUnseen(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	c.Auth = vaultstore.TokenAuth{Token: secret.New(v.RootToken)}
	s := open(t, c)
	mustSave(t, s, record("acme"), 0)
	v.Delete(t, "sys/mounts/"+c.Mount)
	v.Write(t, "sys/mounts/"+c.Mount, map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	for _, want := range []string{"as KV v2 does", "version 1"} {
		_, err := s.Save(t.Context(), record("acme"), 1)
		if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("Save into KV v1 = %v; want ErrUnavailable with %q", err, want)
		}
	}
}
