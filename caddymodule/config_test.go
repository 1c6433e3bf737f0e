package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

var updateGolden = flag.Bool("update", false, "write what the adapter gives into the golden files")

// goldenSeparator stands between the Caddyfile and the JSON of a golden file.
const goldenSeparator = "\n----------\n"

// TestGoldenCaddyfiles adapts the Caddyfiles of testdata/caddyfile and
// compares the result with the JSON that follows in the same file.
func TestGoldenCaddyfiles(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding golden files: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(content), goldenSeparator)
			if !ok && !*updateGolden {
				t.Fatalf("%s has no line ----------", file)
			}
			adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.TrimRight(input, "\n")+"\n"), map[string]any{"filename": "Caddyfile"})
			if err != nil {
				t.Fatal(err)
			}
			for _, warning := range warnings {
				t.Errorf("warning: %s", warning)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, adapted, "", "\t"); err != nil {
				t.Fatal(err)
			}
			if *updateGolden {
				if err := os.WriteFile(file, []byte(strings.TrimRight(input, "\n")+goldenSeparator+got.String()+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != strings.TrimSpace(want) {
				t.Errorf("adapted:\n%s\nwant:\n%s", got.String(), want)
			}
		})
	}
}

func TestConnectAndCall(t *testing.T) {
	h := startCaddy(t, hubspotCaddyfile("", "hubspot_auth\n hubspot_proxy hbdev"))
	h.Connect("acme", sandbox.DemoHubID)
	got := h.Get("/crm/objects/2026-09/contacts?limit=1", "acme")
	if got.StatusCode != http.StatusOK || !strings.Contains(got.Text, `"results"`) {
		t.Errorf("contacts: %s: %s", got.Status, got.Text)
	}
}
