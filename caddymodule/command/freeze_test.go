package command_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

const contacts = "/crm/objects/2026-09/contacts"

func TestFreezeCommands(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	address := "--address=unix/" + h.AdminSocket()
	run := func(args ...string) (adminapi.FreezeList, error) {
		t.Helper()
		out, err := runCommand(t, append(args, address)...)
		var list adminapi.FreezeList
		if err == nil {
			if err := json.Unmarshal([]byte(out), &list); err != nil {
				t.Fatalf("%v prints %s", args, out)
			}
		}
		return list, err
	}
	must := func(want int, args ...string) adminapi.FreezeList {
		t.Helper()
		list, err := run(args...)
		if err != nil || len(list.Freezes) != want {
			t.Fatalf("%v: %+v, %v; want %d freezes", args, list, err, want)
		}
		return list
	}
	must(0, "freezes")
	list := must(1, "freeze", "--app=HBDev", "--user=acme", "--caller=TESTER", "--writes", "--reason=suspicion")
	f := list.Freezes[0]
	if f.Selector != (freeze.Selector{App: "hbdev", User: "acme", Caller: "tester", Writes: true}) || f.Reason != "suspicion" || f.By == "" || f.Since.IsZero() {
		t.Errorf("frozen: %+v", f)
	}
	must(1, "freeze", "--app=hbdev", "--user=acme", "--caller=tester", "--writes")
	must(2, "freeze", "--user=acme")
	must(2, "freezes")
	sidecartest.WantOwnError(t, h.Get(contacts, "acme"), 403, "frozen")
	status := h.Admin(http.MethodGet, "/hubspot/status")
	if !strings.Contains(status.Text, `"freezes":{"count":2,"known":true,"readAt":"20`) || strings.Contains(status.Text, "acme") {
		t.Errorf("status: %s", status.Text)
	}
	metrics := h.Admin(http.MethodGet, "/metrics").Text
	for _, want := range []string{
		"\ncaddy_hubspot_freezes 2\n",
		`caddy_hubspot_requests_total{app="hbdev",caller="tester",code="4xx",source="sidecar"} 1`,
		`caddy_hubspot_store_operation_duration_seconds_count{operation="save_document",result="ok",store="caddy"} 2`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, tc := range []struct {
		text string
		args []string
	}{
		{"name an app, a user or a caller", []string{"freeze"}},
		{"name an app, a user or a caller", []string{"freeze", "--writes"}},
		{"all goes with no", []string{"freeze", "--all", "--user=acme"}},
		{`there is no app \"hbdv\"; there are: hbdev`, []string{"freeze", "--app=hbdv"}},
		{`there is no caller \"testr\"; there are: tester`, []string{"freeze", "--caller=testr"}},
		{"--user is empty", []string{"freeze", "--app=hbdev", "--user="}},
		{"longer than 1024", []string{"freeze", "--user=" + strings.Repeat("x", 1025)}},
		{"control character", []string{"freeze", "--user=a\nb"}},
		{"name an app, a user or a caller", []string{"unfreeze"}},
		{`"user":"acme"`, []string{"unfreeze", "--user=Acme"}},
		{"there is no freeze of exactly that", []string{"unfreeze", "--app=hbdev", "--user=acme", "--caller=tester"}},
		{"there is no freeze of exactly that", []string{"unfreeze", "--all", "--writes"}},
		{"unknown flag", []string{"unfreeze", "--reason=x", "--all"}},
	} {
		if list, err := run(tc.args...); err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v: %+v, %v; want an error with %q", tc.args, list, err, tc.text)
		}
	}
	must(1, "unfreeze", "--user=acme")
	must(2, "freeze", "--all", "--writes")
	must(1, "unfreeze", "--all", "--writes")
	must(0, "unfreeze", "--all")
	if got := h.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Errorf("after all was lifted: %s %s", got.Status, got.Text)
	}
	for line := range strings.Lines(h.Logs.String()) {
		if strings.Contains(line, "acme") || strings.Contains(line, "suspicion") {
			t.Errorf("the log names the user, or the reason: %s", line)
		}
	}
}
