package command_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// narrowCaller may not do everything, and with its key narrowKey.
const (
	narrowCaller = `
		caller narrow {
			key {env.NARROW_KEY}
			allow GET *
		}
		app other {
			client_id     {env.HUBSPOT_CLIENT_ID}
			client_secret {env.HUBSPOT_CLIENT_SECRET}
		}`
	narrowKey = "narrow-key-0123456789-01"
)

// tagOf is the tag of a user of hbdev.
func tagOf(h *caddytest.Harness, user string) string {
	return h.App("hbdev").Manager.Tag(h.T.Context(), user)
}

// hubSpotID is what the HubSpot of these tests calls every request.
const hubSpotID = "a43683b0-5717-4ceb-80b4-104d02915d8c"

// startAudit starts a Caddy with an audit log, with the user acme connected.
func startAudit(t *testing.T, options ...caddytest.Option) *caddytest.Harness {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-HubSpot-Correlation-Id", hubSpotID)
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(upstream.Close)
	t.Setenv("NARROW_KEY", narrowKey)
	text := caddytest.Caddyfile(narrowCaller+"\n"+caddytest.AuditSetting, caddytest.AuthAndProxy)
	h := caddytest.Start(t, caddytest.Unpaced(caddytest.WithAPI(text, upstream.URL)), options...)
	h.ConnectAs("acme", caddytest.AccessToken)
	return h
}

func TestAuditCommands(t *testing.T) {
	h := startAudit(t, caddytest.WithAdmin())
	h.ConnectAs("globex", caddytest.AccessToken)
	for range 2 {
		h.Get("/crm/v3/objects/contacts/1", "acme")
	}
	h.Get("/crm/v3/owners", "globex")
	h.Do("GET", "/crm/v3/owners", nil, "Authorization", "Bearer "+narrowKey, "X-HubSpot-User", "acme")
	h.WaitForAuditLines(4)
	file := filepath.Join(h.Dir, "audit.jsonl")
	address := "--address=unix/" + h.AdminSocket()
	run := func(args ...string) string {
		t.Helper()
		out, err := runCommand(t, append([]string{"audit"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	head := h.Sidecar().Audit().Head()

	if out := run("verify", address); !strings.Contains(out, "6 lines, 1 to 6, from 20") || !strings.Contains(out, "head 6 "+head.Hash+"\n") || !strings.HasSuffix(out, "\nintact\n") {
		t.Errorf("verify: %s", out)
	}
	if out := run("verify", file, "--head", strings.ToUpper(head.Hash), "--from-seq=1"); !strings.HasSuffix(out, "\nintact\n") {
		t.Errorf("verify: %s", out)
	}
	lines := func(args ...string) int { return strings.Count(run(append([]string{"show"}, args...)...), "\n") }
	for _, tc := range []struct {
		want int
		args []string
	}{
		{3, []string{"--user", "acme", "--since", "30d", address}},
		{3, []string{"--user", "acme", "--app", "HBdev", address}},
		{0, []string{"--user", "acme", "--app", "other", address}},
		{0, []string{"--user", "nobody", address}},
		{3, []string{file, "--tag", tagOf(h, "acme")}},
		{1, []string{file, "--tag", tagOf(h, "acme"), "--caller", "narrow"}},
		{4, []string{file}},
		{0, []string{file, "--until", "1h"}},
		{0, []string{file, "--until", "2026-01-01"}},
		{4, []string{file, "--since", time.Now().Add(-time.Hour).Format(time.RFC3339)}},
		{0, []string{file, "--since", time.Now().Add(time.Hour).Format(time.RFC3339)}},
	} {
		if got := lines(tc.args...); got != tc.want {
			t.Errorf("show %v: %d lines, want %d", tc.args, got, tc.want)
		}
	}
	out := run("show", "--user", "globex", address)
	if want := " call app=hbdev caller=tester user=" + tagOf(h, "globex") + " portal=4711 GET /crm/v3/owners 200 tries=1 " + hubSpotID + "\n"; !strings.HasSuffix(out, want) {
		t.Errorf("show: %q, want %q", out, want)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out := run("show", "--user", "globex", "--json", address); !strings.Contains(string(content), out) || !strings.Contains(out, `"path":"/crm/v3/owners"`) {
		t.Errorf("show --json: %s", out)
	}
	for line := range strings.Lines(h.Logs.String()) {
		if strings.Contains(line, "/hubspot/tags") && strings.Contains(line, "globex") {
			t.Errorf("a user is in the log of the admin API: %s", line)
		}
	}
}

func TestAuditCommandsFindTampering(t *testing.T) {
	h := startAudit(t)
	for range 3 {
		h.Get("/crm/v3/owners", "acme")
	}
	h.WaitForAuditLines(3)
	tag := tagOf(h, "acme")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	h.WaitForAuditStop(1)
	content, err := os.ReadFile(filepath.Join(h.Dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify([]string{filepath.Join(h.Dir, "audit.jsonl")}, audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	head := report.Head.Hash
	lines := strings.SplitAfter(string(content), "\n")
	removed := h.WriteFile("removed", strings.Join(append(lines[:3:3], lines[4:]...), ""))
	changed := h.WriteFile("changed", strings.Replace(string(content), "tester", "narrow", 1))
	cut := h.WriteFile("cut", strings.Join(lines[:5], ""))
	for _, tc := range []struct {
		want string
		args []string
	}{
		{removed + ":4: removed: line 4 should come here, and it is line 5", []string{"verify", removed}},
		{changed + ":3: changed: it does not have its own hash", []string{"verify", changed}},
		{"cut: no line has the hash " + head, []string{"verify", cut, "--head", head}},
		{"the audit log is broken: " + changed + ":3: changed", []string{"show", changed}},
		{"cut: there is no line", []string{"verify", h.WriteFile("empty", "")}},
		{"no such file or directory", []string{"verify", filepath.Join(h.Dir, "none")}},
		{"finding", []string{"show", "--config", filepath.Join(h.Dir, "none")}},
		{`since: "yesterday" is neither a time`, []string{"show", changed, "--since", "yesterday"}},
		{"if any flags in the group [user tag] are set none of the others can be", []string{"show", changed, "--user", "a", "--tag", "b"}},
	} {
		if _, err := runCommand(t, append([]string{"audit"}, tc.args...)...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %s", tc.args, err, tc.want)
		}
	}
	if out, _ := runCommand(t, "audit", "verify", filepath.Join(h.Dir, "empty")); out != "" {
		t.Errorf("verify of an empty log prints %q", out)
	}
	// Without knowing the head, a log that was cut off looks whole.
	if out, err := runCommand(t, "audit", "verify", cut); err != nil || !strings.Contains(out, "head 5 ") {
		t.Errorf("verify: %s, %v", out, err)
	}
	out, err := runCommand(t, "audit", "show", changed, "--tag", tag)
	if err == nil || strings.Count(out, "GET /crm/v3/owners") != 2 {
		t.Errorf("show of a broken log: %s, %v", out, err)
	}
}

func TestAuditCommandsWithoutAuditLog(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	address := "--address=unix/" + h.AdminSocket()
	for _, command := range []string{"verify", "show"} {
		if _, err := runCommand(t, "audit", command, address); err == nil || !strings.Contains(err.Error(), "the running config has no audit log") {
			t.Errorf("%s: %v", command, err)
		}
	}
	if got := h.Admin(http.MethodGet, "/hubspot/status"); strings.Contains(got.Text, "audit") {
		t.Errorf("status: %s", got.Text)
	}
}
