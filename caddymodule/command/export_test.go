package command_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

func TestExportCommand(t *testing.T) {
	h := caddytest.Start(t, caddytest.Caddyfile("", caddytest.AuthAndProxy), caddytest.WithAdmin())
	h.Connect("acme", sandbox.DemoHubID)
	address := "--address=unix/" + h.AdminSocket()
	file := h.Dir + "/out.age"
	if _, err := runCommand(t, "export", "hbdev", address, "--output", file); err == nil || !strings.Contains(err.Error(), "does not permit exports") {
		t.Errorf("without export_to: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file is left of what was refused")
	}
	for _, key := range []string{"age1nonsense", "AGE-SECRET-KEY-1PLANTED"} {
		err := h.Load(caddytest.Caddyfile("export_to "+key, caddytest.AuthAndProxy))
		if err == nil || !strings.Contains(err.Error(), "export_to: key 1: is not a public key") || strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%s: %v", key, err)
		}
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Load(caddytest.Caddyfile("export_to "+identity.Recipient().String()+"\naudit DIR/audit.jsonl", caddytest.AuthAndProxy)); err != nil {
		t.Fatal(err)
	}
	if out, err := runCommand(t, "export", "hbdev", address, "--output", file); err != nil || out != "" {
		t.Fatalf("%v, %s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	sealed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sealed.Close() }()
	opened, err := age.Decrypt(sealed, identity)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(opened)
	if err != nil {
		t.Fatal(err)
	}
	plain := h.WriteFile("plain.jsonl", string(text))
	out, err := runCommand(t, "import", "hbdev", plain, address)
	if err != nil || strings.Join(results(t, out), ",") != "1 exists" {
		t.Errorf("importing what was exported: %v, %s", err, out)
	}
	if lines := h.WaitForAuditLines(1); lines[0].Kind != "export" || lines[0].App != "hbdev" || lines[0].Status != 200 {
		t.Errorf("%+v", lines)
	}
	if _, err := runCommand(t, "export", address); exitCode(err) != "2" {
		t.Errorf("without an app: %v", err)
	}
}
