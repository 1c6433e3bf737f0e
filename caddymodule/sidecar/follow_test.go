package sidecar_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

const (
	inUse    = "files that settings are read from have changed, and are in use"
	notUsed  = "files that settings are read from have changed and cannot be used; what they held before stays in use"
	asBefore = "the files that settings are read from are as before again"
)

// mount is a directory of files that change as a Kubernetes secret does: all at
// once, because another directory takes the place of the one behind a link.
type mount struct {
	h       *caddytest.Harness
	files   map[string]string
	version int
}

func newMount(h *caddytest.Harness, files map[string]string) *mount {
	h.T.Helper()
	m := &mount{h: h, files: make(map[string]string)}
	for name := range files {
		m.do(os.MkdirAll(filepath.Dir(m.path(name)), 0o700))
		m.do(os.Symlink(filepath.Join("..data", name), m.path(name)))
	}
	m.set(files)
	return m
}

func (m *mount) path(name string) string { return filepath.Join(m.h.Dir, "mount", name) }

// set changes files, and leaves the others as they are.
func (m *mount) set(changed map[string]string) {
	m.h.T.Helper()
	maps.Copy(m.files, changed)
	m.version++
	dir := "..v" + strconv.Itoa(m.version)
	m.do(os.Mkdir(m.path(dir), 0o700))
	for name, content := range m.files {
		m.do(os.WriteFile(filepath.Join(m.path(dir), name), []byte(content), 0o600))
	}
	m.do(os.Symlink(dir, m.path("..new")))
	m.do(os.Rename(m.path("..new"), m.path("..data")))
	if m.version > 1 {
		m.do(os.RemoveAll(m.path("..v" + strconv.Itoa(m.version-1))))
	}
}

func (m *mount) do(err error) {
	m.h.T.Helper()
	if err != nil {
		m.h.T.Fatal(err)
	}
}

// follow starts a config with files of a mount.
func follow(t *testing.T, text string, files map[string]string, options ...caddytest.Option) (*caddytest.Harness, *mount) {
	t.Helper()
	h := caddytest.New(t, options...)
	m := newMount(h, files)
	if err := h.Load(text); err != nil {
		t.Fatal(err)
	}
	return h, m
}

// callWith calls HubSpot for acme with a key.
func callWith(h *caddytest.Harness, key string) int {
	h.T.Helper()
	return h.Do(http.MethodGet, contacts, nil, "Authorization", "Bearer "+key, "X-HubSpot-User", "acme").StatusCode
}

const (
	firstKey  = "first-key-of-the-caller"
	secondKey = "second-key-of-the-caller"
)

var withKey = caddytest.Unpaced(caddytest.Caddyfile("caller second {\n key {file.DIR/mount/key}\n }", caddytest.AuthAndProxy))

func TestCallerKeyIsFollowed(t *testing.T) {
	h, m := follow(t, withKey, map[string]string{"key": firstKey + "\n"})
	h.Connect("acme", sandbox.DemoHubID)
	config, before := h.Sidecar(), hub(h)
	if got := callWith(h, firstKey); got != http.StatusOK {
		t.Fatalf("the first key: %d", got)
	}
	m.set(map[string]string{"key": secondKey + "\n"})
	// Nothing of the store has changed, so nothing is asked of it.
	m.do(os.WriteFile(filepath.Join(h.Dir, "storage/hubspot/connections_key_id"), []byte("x"), 0o600))
	config.Look()
	if got := callWith(h, firstKey); got != http.StatusUnauthorized {
		t.Errorf("the old key: %d, want 401", got)
	}
	if got := callWith(h, secondKey); got != http.StatusOK {
		t.Errorf("the new key: %d, want 200", got)
	}
	for key, want := range map[string]int{firstKey: http.StatusUnauthorized, secondKey: http.StatusOK} {
		got := h.Do(http.MethodGet, "/hubspot/connections/hbdev", nil, "Authorization", "Bearer "+key)
		if got.StatusCode != want {
			t.Errorf("hubspot_auth: %s: %d, want %d", key, got.StatusCode, want)
		}
	}
	if h.Sidecar() != config {
		t.Error("the config was reloaded")
	}
	after := hub(h)
	if after == before {
		t.Error("the change made no other generation: this test sees nothing")
	}
	if after.Manager != before.Manager || after.Limiter != before.Limiter {
		t.Error("what has nothing to do with the key was made anew")
	}
	for kind, want := range map[string]int{"manager": 1, "store": 4, "quota": 1, "freezes": 1, "scopeuse": 1} {
		if got := caddytest.References(kind); got != want {
			t.Errorf("%d references to %s, want %d", got, kind, want)
		}
	}
	lines := h.LogLines(inUse)
	if len(lines) != 1 || !strings.Contains(h.Logs.String(), `"files":["`+m.path("key")+`"]`) {
		t.Errorf("log lines: %v", lines)
	}
	if text := h.Logs.String(); strings.Contains(text, secondKey) {
		t.Error("the log has the key")
	}
	config.Look()
	if hub(h) != after {
		t.Error("a look at files that have not changed made another generation")
	}
}

func TestBrokenFileKeepsTheOld(t *testing.T) {
	h, m := follow(t, withKey, map[string]string{"key": firstKey}, caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	problem := func() string {
		var status adminapi.Status
		h.Admin(http.MethodGet, "/hubspot/status").JSON(t, &status)
		if status.Settings == nil {
			return ""
		}
		return status.Settings.Problem
	}
	for i, content := range []string{"", "short", "with a space, and long enough"} {
		m.set(map[string]string{"key": content})
		before := hub(h)
		for range 3 {
			h.Sidecar().Look()
		}
		if hub(h) != before {
			t.Fatalf("%q is in use", content)
		}
		if got := callWith(h, firstKey); got != http.StatusOK {
			t.Errorf("%q: the old key: %d, want 200", content, got)
		}
		lines := h.LogLines(notUsed)
		if len(lines) != i+1 {
			t.Fatalf("%q: %d lines of the log, want %d", content, len(lines), i+1)
		}
		line := lines[i]
		if text, _ := line["error"].(string); line["level"] != "error" || !strings.HasPrefix(text, `caller "second": key`) || text != problem() {
			t.Errorf("%q: log line %v; status %q", content, line, problem())
		}
		if content != "" && strings.Contains(h.Logs.String(), content+`"`) {
			t.Errorf("the log has what the file holds: %q", content)
		}
		var ready adminapi.Readiness
		got := h.Admin(http.MethodGet, "/hubspot/ready")
		got.JSON(t, &ready)
		if got.StatusCode != http.StatusOK || !ready.Ready || len(ready.Warnings) != 1 || !strings.Contains(ready.Warnings[0], `caller "second"`) {
			t.Errorf("readiness: %d, %+v", got.StatusCode, ready)
		}
	}
	// What was there before is good as it is.
	m.set(map[string]string{"key": firstKey})
	before := hub(h)
	h.Sidecar().Look()
	if len(h.LogLines(asBefore)) != 1 || problem() != "" || hub(h) != before {
		t.Errorf("%d lines that all is as before; problem %q", len(h.LogLines(asBefore)), problem())
	}
	// A file that is away for a moment is tried again without another change.
	if err := os.Rename(m.path("..data"), m.path("..away")); err != nil {
		t.Fatal(err)
	}
	h.Sidecar().Look()
	if text := problem(); !strings.Contains(text, "no such file") || !strings.Contains(text, `caller "second": key 1`) {
		t.Errorf("a missing file: %q", text)
	}
	if strings.Contains(h.Logs.String(), "placeholder: failed to read file") {
		t.Error("Caddy logs the missing file as well, at each look")
	}
	if err := os.Rename(m.path("..away"), m.path("..data")); err != nil {
		t.Fatal(err)
	}
	m.set(map[string]string{"key": secondKey})
	h.Sidecar().Look()
	if got := callWith(h, secondKey); got != http.StatusOK || problem() != "" {
		t.Errorf("the new key after all: %d; problem %q", got, problem())
	}
}

const appsFile = `apps:
  hbdev:
    client_id: "{env.HUBSPOT_CLIENT_ID}"
    client_secret: "{file.DIR/mount/secret}"
    scopes_from: DIR/mount/app-hsmeta.json
    redirect_uri: http://localhost/hubspot/hbdev/callback
`

const secondApp = `  second:
    client_id: "second-client"
    client_secret: "{env.HUBSPOT_CLIENT_SECRET}"
    scopes: [oauth]
    redirect_uri: http://localhost/hubspot/second/callback
`

func hsmeta(scope string) string {
	return `{"type":"app","config":{"auth":{"type":"oauth","requiredScopes":["oauth","` + scope + `"]}}}`
}

func TestAppsFileIsFollowed(t *testing.T) {
	h := caddytest.New(t)
	apps := strings.ReplaceAll(appsFile, "DIR", h.Dir)
	m := newMount(h, map[string]string{"apps.yaml": apps, "secret": caddytest.ClientSecret, "app-hsmeta.json": hsmeta("crm.objects.contacts.read")})
	whole := caddytest.Caddyfile("apps_file DIR/mount/apps.yaml", caddytest.AuthAndProxy)
	begin, end := strings.Index(whole, "app hbdev {"), strings.Index(whole, "caller tester")
	if err := h.Load(whole[:begin] + whole[end:]); err != nil {
		t.Fatal(err)
	}
	before := hub(h)
	link := func(app string) int {
		return h.Get("/hubspot/auth/"+app+"?userForeignIdentifier=acme", "").StatusCode
	}
	if got := link("second"); got != http.StatusNotFound {
		t.Errorf("a link for an app that is not there: %d", got)
	}

	m.set(map[string]string{"apps.yaml": apps + secondApp})
	h.Sidecar().Look()
	if got := link("second"); got != http.StatusOK {
		t.Errorf("a link for an app that has come: %d", got)
	}
	if hub(h).Manager != before.Manager {
		t.Error("the app that was there has another manager")
	}
	m.set(map[string]string{"apps.yaml": apps})
	h.Sidecar().Look()
	if got := link("second"); got != http.StatusNotFound {
		t.Errorf("a link for an app that has gone: %d", got)
	}
	h.WaitFor("the manager of the app that has gone", func() bool { return caddytest.Pooled()["manager"] == 1 })

	// hubspot_proxy names this one.
	m.set(map[string]string{"apps.yaml": "apps:\n" + secondApp})
	h.Sidecar().Look()
	lines := h.LogLines(notUsed)
	if len(lines) != 1 || lines[0]["error"] != "hubspot_proxy hbdev: the app is not configured; there are: second" {
		t.Errorf("log lines: %v", lines)
	}
	if link("hbdev") != http.StatusOK || link("second") != http.StatusNotFound {
		t.Error("a part of what was refused is in use")
	}
	if kinds := caddytest.References("manager"); kinds != 1 {
		t.Errorf("%d references to managers, want 1", kinds)
	}

	m.set(map[string]string{"apps.yaml": apps, "app-hsmeta.json": hsmeta("tickets")})
	h.Sidecar().Look()
	if link := h.InstallLink("hbdev", "acme"); !strings.Contains(link, "tickets") || strings.Contains(link, "contacts") {
		t.Errorf("the scopes of the link %s", link)
	}
	m.set(map[string]string{"app-hsmeta.json": "{"})
	h.Sidecar().Look()
	if lines := h.LogLines(notUsed); len(lines) != 2 || !strings.Contains(lines[1]["error"].(string), "scopes_from") {
		t.Errorf("log lines: %v", lines)
	}
	m.set(map[string]string{"app-hsmeta.json": hsmeta("tickets"), "secret": "another-secret"})
	h.Sidecar().Look()
	if hub(h).Manager == before.Manager {
		t.Error("another client secret left the manager as it was")
	}
}

func TestClientSecretIsFollowed(t *testing.T) {
	text := strings.Replace(caddytest.Caddyfile("", caddytest.AuthAndProxy), "client_secret   {env.HUBSPOT_CLIENT_SECRET}",
		"client_secret {file.DIR/mount/secret}\n client_secret_next {file.DIR/mount/next}", 1)
	h, m := follow(t, text, map[string]string{"secret": caddytest.ClientSecret, "next": "the-secret-that-comes"})
	h.Connect("acme", sandbox.DemoHubID)
	var issued struct{ Token string }
	h.Do(http.MethodPost, "/hubspot/tokens/hbdev", strings.NewReader(`{"userForeignIdentifier":"acme"}`),
		"Authorization", "Bearer "+caddytest.CallerKey, "Content-Type", "application/json").JSON(t, &issued)
	before := hub(h)
	if got := callWith(h, issued.Token); got != http.StatusOK {
		t.Fatalf("the user token: %d", got)
	}
	begun := h.InstallLink("hbdev", "globex")

	// The token and the install were sealed with what is the next secret now.
	m.set(map[string]string{"secret": "the-secret-that-comes", "next": caddytest.ClientSecret})
	h.Sidecar().Look()
	if hub(h).Manager == before.Manager {
		t.Fatal("the secrets were not followed")
	}
	if got := callWith(h, issued.Token); got != http.StatusOK {
		t.Errorf("the user token after the rotation: %d", got)
	}
	if _, err := hub(h).Manager.ForceRefresh(t.Context(), "acme"); err != nil {
		t.Errorf("a refresh after the rotation: %v", err)
	}
	if got := h.Do(http.MethodGet, h.Approve(begun, sandbox.DemoHubID), nil, "Accept", "application/json"); got.StatusCode != http.StatusOK {
		t.Errorf("the install that was under way: %s: %s", got.Status, got.Text)
	}
	if caddytest.References("quota") != 1 || hub(h).Limiter != before.Limiter {
		t.Error("the quota was begun anew")
	}
	m.set(map[string]string{"next": "a-third-secret"})
	h.Sidecar().Look()
	if got := callWith(h, issued.Token); got != http.StatusUnauthorized {
		t.Errorf("the user token once its secret has gone: %d, want 401", got)
	}
}

func TestStoreKeyThatChanges(t *testing.T) {
	const (
		one = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
		two = "MTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	)
	for name, setting := range map[string]string{
		"encryption_key": "store caddy {\n encryption_key {file.DIR/mount/key}\n }",
		"key_file":       "store caddy {\n key_file DIR/mount/key\n }",
	} {
		t.Run(name, func(t *testing.T) {
			h, m := follow(t, caddytest.Caddyfile(setting, caddytest.AuthAndProxy), map[string]string{"key": one})
			h.Connect("acme", sandbox.DemoHubID)
			before := hub(h)
			m.set(map[string]string{"key": two})
			h.Sidecar().Look()
			lines := h.LogLines(notUsed)
			if len(lines) != 1 || !strings.Contains(lines[0]["error"].(string), "sealed with another key") {
				t.Errorf("log lines: %v", lines)
			}
			if err := os.Remove(m.path("key")); err != nil {
				t.Fatal(err)
			}
			h.Sidecar().Look()
			if lines := h.LogLines(notUsed); len(lines) != 2 {
				t.Errorf("log lines of a key that has gone: %v", lines)
			}
			if got := h.Get(contacts, "acme"); got.StatusCode != http.StatusOK || hub(h) != before {
				t.Errorf("calling with the old key: %s: %s", got.Status, got.Text)
			}
			if err := os.Symlink("..data/key", m.path("key")); err != nil {
				t.Fatal(err)
			}
			m.set(map[string]string{"key": one + "\n"})
			h.Sidecar().Look()
			if got := h.Get(contacts, "acme"); got.StatusCode != http.StatusOK || hub(h).Manager != before.Manager {
				t.Errorf("the same key in another spelling: %s: %s", got.Status, got.Text)
			}
			if len(h.LogLines(inUse)) != 1 {
				t.Error("the same key in another spelling is not in use")
			}
		})
	}
}

func TestCallsGoOnWhileFilesChange(t *testing.T) {
	h, m := follow(t, withKey, map[string]string{"key": firstKey})
	h.Connect("acme", sandbox.DemoHubID)
	var calls sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := callWith(h, caddytest.CallerKey); got != http.StatusOK {
					t.Errorf("a call while files change: %d", got)
					return
				}
			}
		})
	}
	for range 10 {
		m.set(map[string]string{"key": secondKey})
		h.Sidecar().Look()
		m.set(map[string]string{"key": firstKey})
		h.Sidecar().Look()
	}
	close(stop)
	calls.Wait()
	if n := h.Sandbox.Stats().Grants[0].Refreshes; n != 0 {
		t.Errorf("%d refreshes, want none", n)
	}
}

func TestFollowingEndsWithTheConfig(t *testing.T) {
	h, m := follow(t, withKey, map[string]string{"key": firstKey})
	running := func() bool {
		stacks := make([]byte, 4<<20)
		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*Sidecar).follow(")
	}
	h.WaitFor("the files to be looked at", running)
	old := h.Sidecar()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitFor("the looking to end", func() bool { return !running() })
	// A look that was under way takes nothing from the pool for good.
	m.set(map[string]string{"key": secondKey})
	old.Look()
	if lines := h.LogLines(notUsed); len(lines) != 0 {
		t.Errorf("log lines after the end: %v", lines)
	}
	h.WaitFor("the pool to be empty", func() bool { return len(caddytest.Pooled()) == 0 })
}
