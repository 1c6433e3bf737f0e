package command_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// grantElsewhere makes a grant that no connection here stands on.
func grantElsewhere(t *testing.T, h *caddytest.Harness, hubID int64) hubspot.Grant {
	t.Helper()
	app := h.App("hbdev")
	verifier := hubspot.NewVerifier()
	link, err := app.Client.AuthorizeURL(t.Context(), hubspot.AuthorizeRequest{Scopes: app.RequiredScopes(), State: "elsewhere", Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := app.Exchange(t.Context(), sidecartest.QueryOf(t, h.Approve(link, hubID), "code"), verifier)
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

// results are the result of each line that the command prints.
func results(t *testing.T, out string) (results []string) {
	t.Helper()
	for text := range strings.Lines(out) {
		if !strings.HasPrefix(text, "{") {
			continue
		}
		var line struct {
			Line          int
			Result, Field string
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		results = append(results, strings.TrimSpace(fmt.Sprintf("%d %s %s", line.Line, line.Result, line.Field)))
	}
	return results
}

func TestImportCommand(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	token := grantElsewhere(t, h, sandbox.DemoHubID).RefreshToken.Reveal()
	address := "--address=unix/" + h.AdminSocket()
	record := func(user, more string) string {
		return fmt.Sprintf(`{"userForeignIdentifier":"%s","refreshToken":"%s"%s}`, user, token, more)
	}
	file := h.WriteFile("in.jsonl", strings.Join([]string{
		record("acme", ""), record("globex/emea", `,"hubId":62515001`), `{"broken`, record("initech", `,"hubId":7`), record("acme", ""),
		record("acme", `,"hubId":62515001`), `{"userForeignIdentifier":"x","refreshToken":"na1-planted-unknown"}`,
		`{"userForeignIdentifier":"x","refreshToken":"na1-planted-unknown"}`, // of a line that was refused
	}, "\n"))
	for _, round := range []struct {
		args []string
		want string
	}{
		{[]string{"--dry-run"}, "1 imported,2 imported,3 refused,4 refused hubId,5 exists,6 refused userForeignIdentifier,7 refused refreshToken,8 refused"},
		{nil, "1 imported,2 imported,3 refused,4 refused hubId,5 exists,6 refused userForeignIdentifier,7 refused refreshToken,8 refused"},
		{nil, "1 exists,2 exists,3 refused,4 refused hubId,5 exists,6 refused userForeignIdentifier,7 refused refreshToken,8 refused"},
	} {
		out, err := runCommand(t, append([]string{"import", "hbdev", file, address}, round.args...)...)
		if got := strings.Join(results(t, out), ","); got != round.want {
			t.Errorf("%v: %s\nwant %s\n%s", round.args, got, round.want, out)
		}
		if err == nil || exitCode(err) != "" {
			t.Errorf("%v: %v with exit code %q, want one and Caddy's own, 1", round.args, err, exitCode(err))
		}
		if strings.Contains(out, token) || strings.Contains(out, "planted") {
			t.Errorf("a token is printed:\n%s", out)
		}
	}
	if got := h.Get(contacts, "globex/emea"); got.StatusCode != 200 {
		t.Errorf("a call as an imported user: %s %s", got.Status, got.Text)
	}
	good := h.WriteFile("good.csv", "refreshToken,userForeignIdentifier\n"+token+",acme\n")
	if out, err := runCommand(t, "import", "hbdev", good, address); err != nil {
		t.Errorf("all of it good: %v, %s", err, out)
	}
	for _, secret := range []string{token, "planted"} {
		if strings.Contains(h.Logs.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
	for _, tc := range []struct {
		code, text string
		args       []string
	}{
		{"2", "give an app and a file", []string{"hbdev"}},
		{"2", "no such file", []string{"hbdev", file + "x"}},
		{"2", "is a directory", []string{"hbdev", h.Dir}},
		{"2", "there is no format", []string{"hbdev", file, "--format", "xml"}},
		{"2", "the names of the columns", []string{"hbdev", file, "--format", "csv"}},
		{"", "there is no app", []string{"nobody", good, address}},
		{"2", "performing request", []string{"hbdev", good, "--address=unix//nowhere"}},
	} {
		_, err := runCommand(t, append([]string{"import"}, tc.args...)...)
		if err == nil || !strings.Contains(err.Error(), tc.text) || exitCode(err) != tc.code {
			t.Errorf("%v: %v with exit code %q, want %q in it and %q", tc.args, err, exitCode(err), tc.text, tc.code)
		}
	}
}

// An import outlives a Caddy that is restarted meanwhile: what was done is
// found to exist.
func TestImportOfManyIsResumed(t *testing.T) {
	text := caddytest.Caddyfile("", caddytest.AuthAndProxy)
	text = strings.Replace(text, "app hbdev {", "app hbdev {\n refresh_quota 1000 1s", 1)
	h := caddytest.Start(t, text, caddytest.WithAdmin())
	token := grantElsewhere(t, h, sandbox.DemoHubID).RefreshToken.Reveal()
	var lines strings.Builder
	for n := range 250 {
		fmt.Fprintf(&lines, `{"userForeignIdentifier":"user-%d","refreshToken":"%s"}`+"\n", n, token)
	}
	file := h.WriteFile("many.jsonl", lines.String())
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"250 imported, 0 exist, 0 refused", "0 imported, 250 exist, 0 refused"} {
		out, err := runCommand(t, "import", "hbdev", file, "--address=unix/"+h.AdminSocket())
		if err != nil || !strings.Contains(out, want) || !strings.Contains(out, "can be read by others") {
			t.Errorf("%v, %s; want %s", err, out[max(0, len(out)-200):], want)
		}
		if n := strings.Count(out, "\n{"); n < 249 {
			t.Errorf("%d lines", n)
		}
	}
}

func TestImportAdminAPI(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	token := grantElsewhere(t, h, sandbox.DemoHubID).RefreshToken.Reveal()
	one := `{"userForeignIdentifier":"acme","refreshToken":"` + token + `"}`
	for _, tc := range []struct {
		path, body, contentType string
		status                  int
		want                    string
	}{
		{"/hubspot/connections/hbdev?dry_run=true", one, "application/json", 200, `"result":"imported"`},
		{"/hubspot/connections/hbdev", one, "application/json", 201, `"hubId":62515001`},
		{"/hubspot/connections/hbdev", one, "application/json", 200, `{"result":"exists"}`},
		{"/hubspot/connections/hbdev", `{"userForeignIdentifier":"b"}`, "application/json", 422, `"field":"refreshToken"`},
		{"/hubspot/connections/hbdev", one + "{}", "application/json", 422, `not valid JSON`},
		{"/hubspot/connections/hbdev", one, "text/plain", 415, `application/json`},
		{"/hubspot/connections/hbdev?dryrun=true", one, "application/json", 400, `there is no parameter`},
		{"/hubspot/connections/hbdev?overwrite", one, "application/json", 400, `give true or false`},
		{"/hubspot/connections/hbdev", strings.Repeat(" ", 65<<10) + one, "application/json", 413, `larger than 64 KiB`},
		{"/hubspot/imports/hbdev", `{"records":[` + one + `],"dryrun":true}`, "application/json", 400, `unknown field`},
		{"/hubspot/imports/hbdev", `{"records":[]}`, "application/json", 400, `give 1 to 100`},
		{"/hubspot/imports/hbdev", `{"records":[` + one + `]}`, "application/json", 200, `{"results":[{"result":"exists"}]}`},
	} {
		answer := h.AdminBody("POST", tc.path, tc.body, tc.contentType)
		if answer.StatusCode != tc.status || !strings.Contains(answer.Text, tc.want) {
			t.Errorf("%s %.80s: %s %s, want %d %s", tc.path, tc.body, answer.Status, answer.Text, tc.status, tc.want)
		}
	}
	// Disconnected: no record of old brings the user back.
	if _, err := h.App("hbdev").Manager.Disconnect(t.Context(), "acme", connection.DisconnectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.App("hbdev").Manager.Get(t.Context(), "acme"); err == nil || !strings.Contains(err.Error(), connection.ErrNotConnected.Error()) {
		t.Fatal(err)
	}
	answer := h.AdminBody("POST", "/hubspot/connections/hbdev", one, "application/json")
	if answer.StatusCode != 422 || !strings.Contains(answer.Text, "was disconnected here") {
		t.Errorf("after a disconnect: %s %s", answer.Status, answer.Text)
	}
	if strings.Contains(h.Logs.String(), token) {
		t.Error("a token is in the log")
	}
}
