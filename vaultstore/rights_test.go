package vaultstore_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// changedPolicy is the text of the sidecar's policy for the app of the tests,
// with something in it replaced.
func changedPolicy(t *testing.T, mount, old, replacement string) string {
	t.Helper()
	content, err := os.ReadFile("../examples/vault/sidecar.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		t.Fatalf("the policy has no %q", old)
	}
	return strings.ReplaceAll(strings.Replace(string(content), old, replacement, 1), `"secret/`, `"`+mount+`/`)
}

// everything is all that the store can be used for.
func everything(mount string) vaultstore.Needs {
	return vaultstore.Needs{Apps: []string{app}, Credentials: []string{mount + "/hubspot-apps/hbdev"}, Documents: true}
}

// wantDenied holds that an error names a rule, and is none of an outage.
func wantDenied(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if !errors.Is(err, connection.ErrDenied) || errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("%s = %v; want ErrDenied and not ErrUnavailable", what, err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s = %v; want one with %q", what, err, text)
		}
	}
	if strings.Contains(err.Error(), "0000") {
		t.Errorf("%s = %v; want no id", what, err)
	}
}

// TestHealthNamesMissingRights takes every right of the shipped policy away.
func TestHealthNamesMissingRights(t *testing.T) {
	v := vault.Server(t)
	mount := v.Mount(t)
	const records = `"secret/data/hubspot/connections/hbdev/*" {` + "\n  capabilities = "
	const all = `["create", "read", "update"]`
	for name, tc := range map[string]struct{ old, replacement, want string }{
		"nothing":          {"path", "path", ""},
		"read-only":        {records + all, records + `["read"]`, "lacks create, update on " + mount + "/data/hubspot/connections/hbdev/*"},
		"no update":        {records + all, records + `["create", "read"]`, "lacks update on " + mount + "/data/hubspot/connections/hbdev/*"},
		"write-only":       {records + all, records + `["create", "update"]`, "lacks read on " + mount + "/data/hubspot/connections/hbdev/*"},
		"another app":      {"data/hubspot/connections/hbdev", "data/hubspot/connections/hbprod", "lacks create, read, update on " + mount + "/data/hubspot/connections/hbdev/*"},
		"no id key":        {"apps/hbdev/key", "apps/hbprod/key", "lacks create, read on " + mount + "/data/hubspot/apps/hbdev/key"},
		"no listing":       {`["list", "read"]`, `["read"]`, "lacks list on " + mount + "/metadata/hubspot/connections/hbdev/*"},
		"listing one only": {`metadata/hubspot/connections/hbdev/*"`, `metadata/hubspot/connections/hbdev"`, "lacks list, read on " + mount + "/metadata/hubspot/connections/hbdev/*"},
		"no versions":      {`["list", "read"]`, `["list"]`, "lacks read on " + mount + "/metadata/hubspot/connections/hbdev/*"},
		"no erasing":       {"secret/destroy", "secret/delete", "lacks update on " + mount + "/destroy/hubspot/connections/hbdev/*"},
		"no documents":     {"control/*", "nowhere/*", "lacks create, read, update on " + mount + "/data/hubspot/control/*"},
		"no credentials":   {"data/hubspot-apps/hbdev", "data/hubspot-apps/hbprod", "lacks read on " + mount + "/data/hubspot-apps/hbdev"},
	} {
		policy := v.PolicyText(t, changedPolicy(t, mount, tc.old, tc.replacement))
		log := new(logtest.Buffer)
		s := open(t, vaultstore.Config{
			Address: v.Address, Mount: mount, Logger: log.Logger(),
			Auth: vaultstore.TokenAuth{Token: secret.New(v.Token(t, map[string]any{"policies": policy}))},
		})
		s.Need(everything(mount))
		for range 2 {
			err := s.Health(t.Context())
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s: Health = %v", name, err)
				}
				continue
			}
			path := tc.want[strings.Index(tc.want, " on ")+4:]
			wantDenied(t, name+": Health", err, tc.want+"; add", `path "`+path+`" { capabilities = [`)
		}
		if got := strings.Count(log.String(), "vault cannot be used"); got != min(1, len(tc.want)) {
			t.Errorf("%s: the log has %d lines about it; want one: %s", name, got, log)
		}
	}
}

// TestDeniedIsNoOutage reads with a policy that lets nothing be written.
func TestDeniedIsNoOutage(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	works(t, open(t, c))
	mustSave(t, open(t, c), record("acme"), 0)
	policy := v.PolicyText(t, strings.ReplaceAll(changedPolicy(t, c.Mount,
		"secret/destroy", "secret/nothing"), `["create", "read", "update"]`, `["read"]`))
	c.Auth = vaultstore.TokenAuth{Token: secret.New(v.Token(t, map[string]any{"policies": policy}))}
	s := open(t, c)
	if _, err := s.Load(t.Context(), key("acme")); err != nil {
		t.Errorf("Load = %v", err)
	}
	_, err := s.Save(t.Context(), record("acme"), 1)
	rule := `path "` + c.Mount + `/data/hubspot/connections/hbdev/*" { capabilities = ["create", "read", "update"] }`
	wantDenied(t, "Save", err, "vault answered 403", rule)
	// Without Need it is about the apps that were asked for.
	wantDenied(t, "Health", s.Health(t.Context()), "create, update", rule)
	wantDenied(t, "CanSave", s.CanSave(t.Context(), key("somebody")), "create, update", rule)
	wantDenied(t, "CanSave of another app", s.CanSave(t.Context(), connection.Key{App: "other", User: "somebody"}),
		c.Mount+"/data/hubspot/apps/other/key")
	works2 := open(t, sidecarOf(t, v, c.Mount))
	if err := works2.CanSave(t.Context(), key("somebody")); err != nil {
		t.Errorf("CanSave with the right policy = %v", err)
	}
	asked := audited(t, v, "sys/capabilities-self")
	for range 20 {
		if err := works2.CanSave(t.Context(), key("somebody else")); err != nil {
			t.Errorf("CanSave with the right policy = %v", err)
		}
	}
	if got := audited(t, v, "sys/capabilities-self"); got != asked {
		t.Errorf("CanSave asked Vault %d more times; want it remembered", got-asked)
	}
}

func sidecarOf(t *testing.T, v *vaulttest.Server, mount string) vaultstore.Config {
	token := v.Token(t, map[string]any{"policies": v.Policy(t, "sidecar.hcl", mount, "+")})
	return vaultstore.Config{Address: v.Address, Mount: mount, Auth: vaultstore.TokenAuth{Token: secret.New(token)}}
}

// TestPolicyForAnotherPlace has the shipped policy for another path and for
// another mount. A mount that is not there is another matter.
func TestPolicyForAnotherPlace(t *testing.T) {
	t.Parallel()
	v := vault.Server(t)
	mount := v.Mount(t)
	policies := map[string]string{
		"another path":  v.PolicyText(t, strings.ReplaceAll(changedPolicy(t, mount, "path", "path"), "/hubspot/", "/elsewhere/")),
		"another mount": v.PolicyText(t, changedPolicy(t, v.Mount(t), "path", "path")),
	}
	for name, policy := range policies {
		role := v.AppRole(t, map[string]any{"token_policies": policy, "token_ttl": "1h"})
		s := open(t, vaultstore.Config{Address: v.Address, Mount: mount, Auth: roleAuth(t, role)})
		s.Need(vaultstore.Needs{Apps: []string{app}})
		wantDenied(t, name+": Health", s.Health(t.Context()), mount+"/data/hubspot/connections/hbdev/*", "create, read, update")
		_, err := s.Load(t.Context(), key("acme"))
		wantDenied(t, name+": Load", err, mount+"/data/hubspot/")
		_, err = s.Save(t.Context(), record("acme"), 0)
		wantDenied(t, name+": Save", err, mount+"/data/hubspot/")
		_, err = s.List(t.Context(), app, "", 1)
		wantDenied(t, name+": List", err, mount+"/data/hubspot/")
		wantDenied(t, name+": CanSave", s.CanSave(t.Context(), key("acme")), mount+"/data/hubspot/")

		// What the role is given later counts without a restart.
		v.Write(t, "auth/"+role.Mount+"/role/"+role.Name, map[string]any{"token_policies": v.Policy(t, "sidecar.hcl", mount, "+")})
		eventually(t, name+": the right policy is found out about", func() bool { return s.Health(t.Context()) == nil })
		works(t, s)
	}
	log := new(logtest.Buffer)
	c := sidecarOf(t, v, "nowhere")
	c.Logger = log.Logger()
	s := open(t, c)
	if _, _, err := s.LoadDocument(t.Context(), "freezes"); !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(log.String(), "no such mount") {
		t.Errorf("LoadDocument without the mount = %v; want ErrUnavailable, and the cause in the log before anybody else can say something: %s", err, log)
	}
	s.Need(vaultstore.Needs{Apps: []string{app}})
	if err := s.Health(t.Context()); !errors.Is(err, connection.ErrUnavailable) || errors.Is(err, connection.ErrDenied) || !strings.Contains(err.Error(), "no such mount") {
		t.Errorf("Health without the mount = %v; want ErrUnavailable because of the mount", err)
	}
}

// TestRefusalsAreRemembered has a token that may not ask what it may do.
func TestRefusalsAreRemembered(t *testing.T) {
	v := vault.Server(t)
	c := sidecar(t, v)
	works(t, open(t, c))
	name := v.PolicyText(t, changedPolicy(t, c.Mount, "sys/capabilities-self", "sys/nothing"))
	c.Auth = vaultstore.TokenAuth{Token: secret.New(v.Token(t, map[string]any{"policies": name, "no_default_policy": true}))}
	s := open(t, c)
	works(t, s)
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("Health = %v; want none", err)
	}
	v.Write(t, "sys/policies/acl/"+name, map[string]any{"policy": changedPolicy(t, c.Mount, `["create", "read", "update"]`, `["read"]`)})
	if _, err := s.Save(t.Context(), record("acme"), 0); !errors.Is(err, connection.ErrDenied) {
		t.Errorf("Save = %v; want ErrDenied", err)
	}
	wantDenied(t, "Health", s.Health(t.Context()), "vault answered 403", "/data/hubspot/connections/hbdev/*")
	v.Write(t, "sys/policies/acl/"+name, map[string]any{"policy": changedPolicy(t, c.Mount, "sys/capabilities-self", "sys/nothing")})
	works(t, s)
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("Health after a save that worked = %v; want none", err)
	}
}
