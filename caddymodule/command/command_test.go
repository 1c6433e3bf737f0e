package command_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
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
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("globex/emea", sandbox.DemoHubID)
	h.Connect("acme", sandbox.DemoHubID)
	address := "--address=unix/" + h.AdminSocket()
	run := func(args ...string) string {
		t.Helper()
		out, err := runCommand(t, append(args, address)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}

	var status adminapi.Status
	if err := json.Unmarshal([]byte(run("status")), &status); err != nil || len(status.Apps) != 1 {
		t.Errorf("status: %v, %v", status, err)
	}
	var page callerapi.Page
	if err := json.Unmarshal([]byte(run("connections", "hbdev", "--limit=1")), &page); err != nil || len(page.Results) != 1 || page.Paging == nil {
		t.Fatalf("connections: %v, %v", page, err)
	}
	var next callerapi.Page
	if err := json.Unmarshal([]byte(run("connections", "hbdev", "--after="+page.Paging.Next.After)), &next); err != nil || len(next.Results) != 1 {
		t.Errorf("next page: %v, %v", next, err)
	}
	if out := run("connections", "hbdev", "globex/emea"); !strings.Contains(out, `"userForeignIdentifier": "globex/emea"`) {
		t.Errorf("connection: %s", out)
	}
	var receipt callerapi.Receipt
	if err := json.Unmarshal([]byte(run("disconnect", "hbdev", "globex/emea", "--uninstall")), &receipt); err != nil ||
		receipt.Revoked != connection.OutcomeShared || receipt.Uninstalled != connection.OutcomeShared || !receipt.Destroyed {
		t.Errorf("disconnect prints %+v, %v", receipt, err)
	}
	if got := h.Admin(http.MethodGet, adminapi.ConnectionPath("hbdev", "globex/emea")); got.StatusCode != http.StatusNotFound {
		t.Errorf("the disconnected one: %s: %s", got.Status, got.Text)
	}
	if _, err := runCommand(t, "disconnect", "hbdev", "nobody", address); err == nil || !strings.Contains(err.Error(), "user is not connected") || exitCode(err) != "" {
		t.Errorf("disconnecting nobody: %v", err)
	}
	if _, err := runCommand(t, "disconnect", "hbdev", "acme", "--address=127.0.0.1:1"); exitCode(err) != "2" {
		t.Errorf("disconnecting without a sidecar: %v", err)
	}
	if _, err := runCommand(t, "disconnect", "hbdev", address); exitCode(err) != "2" {
		t.Errorf("disconnecting without a user: %v", err)
	}
	if _, err := runCommand(t, "connections", address); err == nil {
		t.Error("connections without an app were accepted")
	}
}

// A user may look like a flag. It comes behind --, and what comes elsewhere
// must neither be taken for somebody else's nor look as if it had worked.
func TestUsersThatLookLikeFlags(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	address := "--address=unix/" + h.AdminSocket()
	for _, user := range []string{"-x", "--help", "-h", "--", "-c5", "--limit=1"} {
		h.Connect(user, sandbox.DemoHubID)
		commands := []string{"disconnect", "connections"}
		switch user {
		case "-c5", "--limit=1":
			commands = commands[:1] // a list, with that flag
		case "--":
			commands = nil
		}
		for _, command := range commands {
			out, err := runCommand(t, command, address, "hbdev", user)
			if err == nil || !strings.Contains(err.Error(), "put it behind all flags and --, as in: caddy hubspot "+command+" hbdev -- -x") {
				t.Errorf("%s hbdev %s: %v, %s", command, user, err, out)
			}
		}
		if out, err := runCommand(t, "connections", address, "hbdev", "--", user); err != nil || !strings.Contains(out, `"userForeignIdentifier": "`+user+`"`) {
			t.Errorf("connections hbdev -- %s: %v, %s", user, err, out)
		}
		if out, err := runCommand(t, "disconnect", address, "hbdev", "--", user); err != nil || !strings.Contains(out, `"destroyed": true`) {
			t.Errorf("disconnect hbdev -- %s: %v, %s", user, err, out)
		}
	}
	for _, command := range []string{"connections", "disconnect"} {
		for _, flag := range []string{"--help", "-h"} {
			if out, err := runCommand(t, command, flag); err != nil || !strings.Contains(out, "behind all flags and --") || !strings.Contains(out, "Usage:") {
				t.Errorf("%s %s: %v, %s", command, flag, err, out)
			}
		}
	}
}
