package command

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
)

func TestSandboxCommand(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var logs logtest.Buffer
	done := make(chan error, 1)
	go func() {
		done <- runSandbox(ctx, in, &logs, "127.0.0.1:0", "", "")
		_ = in.Close()
	}()
	printed := new(bytes.Buffer)
	base := awaitLine(t, io.TeeReader(out, printed), regexp.MustCompile(`api +(http://127\.0\.0\.1:\d+)\n`))
	go func() { _, _ = io.Copy(printed, out) }()

	resp, err := http.Get(base + "/_sandbox/stats")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("stats: %s", resp.Status)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopping: %v", err)
	}
	if _, err := http.Get(base); err == nil {
		t.Error("it still serves after it was stopped")
	}
}

// awaitLine reads until the pattern matches and returns its first group.
func awaitLine(t *testing.T, r io.Reader, pattern *regexp.Regexp) string {
	t.Helper()
	var all []byte
	buffer := make([]byte, 512)
	for {
		n, err := r.Read(buffer)
		all = append(all, buffer[:n]...)
		if match := pattern.FindSubmatch(all); match != nil {
			return string(match[1])
		}
		if err != nil {
			t.Fatalf("reading %q: %v", all, err)
		}
	}
}

func TestSandboxCommandWithApps(t *testing.T) {
	t.Setenv("HUBSPOT_CLIENT_SECRET", "a-client-secret")
	dir := t.TempDir()
	file := filepath.Join(dir, "apps.yaml")
	if err := os.WriteFile(file, []byte("apps:\n  one:\n    client_id: yaml-client\n    client_secret: \"{env.HUBSPOT_CLIENT_SECRET}\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	apps, err := sandboxAppsOf(file)
	if err != nil || len(apps) != 1 || apps[0].ClientID != "yaml-client" || apps[0].ClientSecret.Reveal() != "a-client-secret" {
		t.Errorf("apps: %v, %v", apps, err)
	}
	if _, err := sandboxAppsOf(filepath.Join(dir, "no-such.yaml")); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

func TestSandboxCommandRefusals(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:4000":      "the sandbox is for this machine only",
		":4000":             "the sandbox is for this machine only",
		"example.com:4000":  "the sandbox is for this machine only",
		"127.0.0.1":         "give a host and a port",
		"127.0.0.1:1000000": "listening on 127.0.0.1:1000000",
	} {
		err := runSandbox(t.Context(), io.Discard, io.Discard, listen, "", "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--listen %s: %v; want %s", listen, err, want)
		}
	}
}
