package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

func TestAuditCommands(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL, withAdmin())
	connect(t, h, "globex", testToken)
	for range 2 {
		h.Get("/crm/v3/objects/contacts/1", "acme")
	}
	h.Get("/crm/v3/owners", "globex")
	h.Do("GET", "/crm/v3/owners", nil, "Authorization", "Bearer "+narrowKey, "X-HubSpot-User", "acme")
	waitForLines(h, 4)
	file := filepath.Join(h.Dir, "audit.jsonl")
	address := "--address=unix/" + h.adminSocket()
	run := func(args ...string) string {
		t.Helper()
		out, err := runCommand(t, append([]string{"audit"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	head := h.App().audit.Head()

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
	upstream := httptest.NewServer(http.HandlerFunc(answerWithID))
	defer upstream.Close()
	h := startAudit(t, upstream.URL)
	for range 3 {
		h.Get("/crm/v3/owners", "acme")
	}
	waitForLines(h, 3)
	tag := tagOf(h, "acme")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	waitForStop(h, 1)
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
		{"no such file or directory", []string{"verify", filepath.Join(h.Dir, "none")}},
		{"finding", []string{"show", "--config", filepath.Join(h.Dir, "none")}},
		{`since: "yesterday" is neither a time`, []string{"show", changed, "--since", "yesterday"}},
		{"if any flags in the group [user tag] are set none of the others can be", []string{"show", changed, "--user", "a", "--tag", "b"}},
	} {
		if _, err := runCommand(t, append([]string{"audit"}, tc.args...)...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %s", tc.args, err, tc.want)
		}
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
	h := startCaddy(t, hubspotCaddyfile("", authAndProxy), withAdmin())
	address := "--address=unix/" + h.adminSocket()
	for _, command := range []string{"verify", "show"} {
		if _, err := runCommand(t, "audit", command, address); err == nil || !strings.Contains(err.Error(), "the running config has no audit log") {
			t.Errorf("%s: %v", command, err)
		}
	}
	if got := h.Admin(http.MethodGet, "/hubspot/status"); strings.Contains(got.Text, "audit") {
		t.Errorf("status: %s", got.Text)
	}
}

func TestAdminTags(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile("", authAndProxy), withAdmin())
	ask := func(method, path, body string) answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return h.read(h.adminClient().Do(req))
	}
	got := ask("POST", "/hubspot/tags/HBdev", `{"userForeignIdentifier":"acme"}`)
	var tag tagAnswer
	if err := json.Unmarshal([]byte(got.Text), &tag); err != nil || tag.UserTag != tagOf(h, "acme") || len(tag.UserTag) != 12 {
		t.Errorf("%s: %s", got.Status, got.Text)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/hubspot/tags/hbdev", "", 405},
		{"POST", "/hubspot/tags/none", `{"userForeignIdentifier":"acme"}`, 404},
		{"POST", "/hubspot/tags/hbdev", `{}`, 400},
		{"POST", "/hubspot/tags/hbdev", `acme`, 400},
		{"POST", "/hubspot/tags/hbdev", `{"userForeignIdentifier":"` + strings.Repeat("a", maxTagQuestion) + `"}`, 400},
	} {
		if got := ask(tc.method, tc.path, tc.body); got.StatusCode != tc.status {
			t.Errorf("%s %s %.40s: %s: %s", tc.method, tc.path, tc.body, got.Status, got.Text)
		}
	}
}
