package sandbox_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// keepingRig is a sandbox with that state file.
func keepingRig(t *testing.T, file string) *rig {
	t.Helper()
	return newRig(t, func(o *sandbox.Options) { o.StateFile = file })
}

func TestStateFileKeepsInstalls(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "state.json")
	before := keepingRig(t, file)
	got := before.connect()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}

	after := keepingRig(t, file)
	after.do("GET", "/crm/objects/2026-09/contacts", "", "Authorization", "Bearer "+got.access).want(http.StatusUnauthorized)
	fresh := after.refresh(got.refresh).want(http.StatusOK).at("access_token").(string)
	after.do("GET", "/crm/objects/2026-09/companies", "", "Authorization", "Bearer "+fresh).want(http.StatusOK)
	if again := after.connect(); again.refresh != got.refresh {
		t.Error("installing again gave another refresh token")
	}
}

func TestStateFileKeepsWhatRotationMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	before := keepingRig(t, file)
	first := before.connect().refresh
	before.do("POST", "/_sandbox/faults", `{"rotate_refresh_tokens":true}`).want(http.StatusOK)
	second := before.refresh(first).want(http.StatusOK).at("refresh_token").(string)

	after := keepingRig(t, file)
	after.refresh(first).want(http.StatusBadRequest).has("BAD_REFRESH_TOKEN")
	after.refresh(second).want(http.StatusOK)
}

func TestStateFileForgets(t *testing.T) {
	cases := map[string]func(r *rig, got tokens){
		"what is revoked":   func(r *rig, got tokens) { r.post(tokenPath+"/revoke", "token", got.refresh).want(http.StatusOK) },
		"what is removed":   func(r *rig, _ tokens) { r.do("POST", "/_sandbox/faults", `{"uninstall":{}}`).want(http.StatusOK) },
		"all after a reset": func(r *rig, _ tokens) { r.do("POST", "/_sandbox/reset", "").want(http.StatusNoContent) },
	}
	for name, end := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state.json")
			before := keepingRig(t, file)
			got := before.connect()
			end(before, got)
			keepingRig(t, file).refresh(got.refresh).want(http.StatusBadRequest).has("BAD_REFRESH_TOKEN")
		})
	}
}

func TestStateFileOfOtherPortals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	got := keepingRig(t, file).connect()
	other := newRig(t, func(o *sandbox.Options) {
		o.StateFile = file
		o.Portals = []sandbox.Portal{{HubID: 7}}
	})
	other.refresh(got.refresh).want(http.StatusBadRequest).has("BAD_REFRESH_TOKEN")
}

func TestStateFileThatIsBroken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sandbox.New(sandbox.Options{StateFile: file})
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestStateFileThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	r := keepingRig(t, file)
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	r.refresh(r.connect().refresh).want(http.StatusOK)
}
