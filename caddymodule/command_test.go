package caddymodule

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// runCommand runs `caddy hubspot` with arguments and returns what it prints.
func runCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	registered, ok := caddycmd.Commands()["hubspot"]
	if !ok {
		t.Fatal("the command hubspot is not registered")
	}
	root := &cobra.Command{Use: registered.Name, SilenceErrors: true, SilenceUsage: true}
	registered.CobraFunc(root)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestCommands(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile("", authAndProxy), withAdmin())
	h.Connect("globex/emea", sandbox.DemoHubID)
	h.Connect("acme", sandbox.DemoHubID)
	address := "--address=unix/" + h.adminSocket()
	run := func(args ...string) string {
		t.Helper()
		out, err := runCommand(t, append(args, address)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}

	var status statusReport
	if err := json.Unmarshal([]byte(run("status")), &status); err != nil || len(status.Apps) != 1 {
		t.Errorf("status: %v, %v", status, err)
	}
	var page connectionPage
	if err := json.Unmarshal([]byte(run("connections", "hbdev", "--limit=1")), &page); err != nil || len(page.Results) != 1 || page.Paging == nil {
		t.Fatalf("connections: %v, %v", page, err)
	}
	var next connectionPage
	if err := json.Unmarshal([]byte(run("connections", "hbdev", "--after="+page.Paging.Next.After)), &next); err != nil || len(next.Results) != 1 {
		t.Errorf("next page: %v, %v", next, err)
	}
	if out := run("connections", "hbdev", "globex/emea"); !strings.Contains(out, `"userForeignIdentifier": "globex/emea"`) {
		t.Errorf("connection: %s", out)
	}
	if out := run("disconnect", "hbdev", "globex/emea"); out != "" {
		t.Errorf("disconnect prints %s", out)
	}
	if got := h.Admin(http.MethodGet, connectionPath("hbdev", "globex/emea")); got.StatusCode != http.StatusNotFound {
		t.Errorf("the disconnected one: %s: %s", got.Status, got.Text)
	}
	if _, err := runCommand(t, "disconnect", "hbdev", "nobody", address); err == nil || !strings.Contains(err.Error(), "user is not connected") {
		t.Errorf("disconnecting nobody: %v", err)
	}
	if _, err := runCommand(t, "connections", address); err == nil {
		t.Error("connections without an app were accepted")
	}
}
