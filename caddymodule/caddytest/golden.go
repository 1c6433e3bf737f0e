package caddytest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = flag.Bool("update", false, "write what the adapter gives into the golden files")

// goldenSeparator stands between the Caddyfile and the JSON of a golden file.
const goldenSeparator = "\n----------\n"

// Golden adapts the Caddyfiles of a directory and compares the result with the
// JSON that follows in the same file. With the flag -update it writes that.
func Golden(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.caddyfiletest"))
	if err != nil || len(files) == 0 {
		t.Fatalf("finding golden files: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, ok := strings.Cut(string(content), goldenSeparator)
	if !ok && !*update {
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
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimRight(input, "\n")+goldenSeparator+got.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != strings.TrimSpace(want) {
		t.Errorf("adapted:\n%s\nwant:\n%s", got.String(), want)
	}
}
