package chaos_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// plainSidecar is a sidecar with Caddy's storage as its store.
type plainSidecar struct {
	binary    string
	processes *nursery
	number    int
	// hubspot is the address of the sandbox, quota what it grants.
	hubspot string
	quota   sandbox.Quota
	// storage is shared with others; empty is one of its own, as on a
	// machine of its own.
	storage string
}

// startPlain starts a sidecar, which is killed when the test ends.
func startPlain(t *testing.T, p plainSidecar) *sidecar {
	t.Helper()
	dir, err := shortDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if p.storage == "" {
		p.storage = filepath.Join(dir, "storage")
	}
	app := sandbox.DemoApp()
	s := &sidecar{number: p.number, nursery: p.processes, binary: p.binary, dir: dir}
	s.env = append(os.Environ(), "CALLER_KEY="+callerKey, "CLIENT_SECRET="+app.ClientSecret.Reveal(),
		"STORE_KEY="+base64.StdEncoding.EncodeToString(make([]byte, 32)), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	s.config = fmt.Appendf(nil, `{
	admin unix/%[1]s/admin.sock
	persist_config off
	storage file_system %[6]s
	hubspot {
		store caddy {
			encryption_key {env.STORE_KEY}
		}
		app hbdev {
			client_id %[2]s
			client_secret {env.CLIENT_SECRET}
			scopes oauth crm.objects.contacts.read
			redirect_uri http://localhost/hubspot/hbdev/callback
			quota %[3]d %[4]v
		}
		caller chaos {
			key {env.CALLER_KEY}
		}
		endpoints {
			api %[5]s
			authorize %[5]s/oauth/authorize
		}
	}
}
http://localhost {
	bind unix/%[1]s/site.sock
	hubspot_auth
	hubspot_proxy hbdev
}
`, dir, app.ClientID, p.quota.Requests, p.quota.Interval, p.hubspot, p.storage)
	if err := os.WriteFile(s.path("Caddyfile"), s.config, 0o600); err != nil {
		t.Fatal(err)
	}
	s.transport = unixTransport(s.path("site.sock"))
	s.admin = &http.Client{Transport: unixTransport(s.path("admin.sock")), Timeout: patience}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	if err := s.waitLive(); err != nil {
		t.Fatal(err)
	}
	return s
}

// connectAcme connects the user that [callContacts] calls for.
func connectAcme(s *sidecar) error {
	return connect(s, &appSetup{name: "hbdev"}, &conn{connKey: connKey{"hbdev", "acme"}, hub: sandbox.DemoHubID})
}
