package vaultstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// fileRole makes the store of a bubble log in with a secret id from a file,
// and returns what replaces its content.
func fileRole(t *testing.T, dir string, s *Store, wrapped bool) (put func(content string)) {
	file := filepath.Join(dir, "secret_id")
	s.session.method = AppRoleAuth{RoleID: secret.New("role-id"), SecretIDFile: file, Wrapped: wrapped}.method()
	return func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// askFor asks for a token ten times a second.
func askFor(t *testing.T, s *Store, d time.Duration) (last error) {
	for range d / (100 * time.Millisecond) {
		_, last = s.session.current(t.Context())
		time.Sleep(100 * time.Millisecond)
	}
	return last
}

// TestRefusedCredentialIsLeftAlone lets callers ask all the time with a
// secret id that Vault refuses.
func TestRefusedCredentialIsLeftAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		status      int
		body        string
		first, last time.Duration // when the second login may come
	}{
		"wrong":  {400, `{"errors":["invalid role or secret ID"]}`, 15 * time.Minute, 17 * time.Minute},
		"denied": {403, `{"errors":["permission denied"]}`, 4*time.Minute + 30*time.Second, 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, sc := bubble(t, func(string) (int, string) { return tc.status, tc.body })
				fileRole(t, dir, s, false)("wrong")
				err := askFor(t, s, time.Hour)
				if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "sys/locked-users") || !strings.Contains(err.Error(), "sys/auth/approle/tune") {
					t.Errorf("error = %v; want one about lockouts", err)
				}
				logins := sc.times(loginPath)
				if len(logins) < 2 || logins[1] < tc.first || logins[1] > tc.last {
					t.Fatalf("logins at %v; want the second between %v and %v", logins, tc.first, tc.last)
				}
				mostInWindow(t, logins)
			})
		})
	}
}

func mostInWindow(t *testing.T, logins []time.Duration) {
	t.Helper()
	for i := range logins[:max(0, len(logins)-maxRefusals)] {
		if logins[i+maxRefusals]-logins[i] < lockoutWindow {
			t.Errorf("logins at %v: more than %d within %v", logins, maxRefusals, lockoutWindow)
		}
	}
}

// TestChangedCredentialIsTried replaces the file by wrong ones and then by
// the right one.
func TestChangedCredentialIsTried(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		status, body := 400, `{"errors":["invalid role or secret ID"]}`
		s, sc := bubble(t, func(string) (int, string) { return status, body })
		put := fileRole(t, dir, s, false)
		for i, content := range []string{"wrong", "wrong-too", "still-wrong", "wrong-once-more"} {
			put(content)
			_ = askFor(t, s, time.Minute)
			if got := len(sc.times(loginPath)); got != min(i+1, maxRefusals) {
				t.Fatalf("logins after file %d = %d; want %d", i+1, got, min(i+1, maxRefusals))
			}
		}
		_, err := s.session.current(t.Context())
		if err == nil || !strings.Contains(err.Error(), "3 logins were refused") {
			t.Errorf("error = %v; want one that says that there were three", err)
		}
		put("right")
		status, body = 200, hour
		if err := askFor(t, s, 13*time.Minute); err != nil {
			t.Errorf("with the right one, 15m after the first wrong one: %v", err)
		}
		mostInWindow(t, sc.times(loginPath))

		// A secret id that works makes the earlier ones forgotten.
		s.session.mu.Lock()
		s.session.lease = lease{}
		s.session.mu.Unlock()
		status, body = 400, `{"errors":["invalid role or secret ID"]}`
		_ = askFor(t, s, time.Minute)
		status, body = 200, hour
		put("right-again")
		if err := askFor(t, s, 10*time.Second); err != nil {
			t.Errorf("a new secret id after one refusal: %v", err)
		}
	})
}

// TestAbsentCredentialIsAwaited has nothing to send at first, and a Vault
// that is away afterwards: neither is held against the credential.
func TestAbsentCredentialIsAwaited(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		status, body := 500, `{"errors":["internal error"]}`
		s, sc := bubble(t, func(path string) (int, string) {
			if path == "sys/health" {
				return 200, `{}`
			}
			return status, body
		})
		put := fileRole(t, dir, s, false)
		_ = askFor(t, s, time.Minute)
		if got := len(sc.times(loginPath)); got != 0 {
			t.Fatalf("logins without a secret id = %d; want none", got)
		}
		put("right")
		_ = askFor(t, s, time.Minute)
		if got := len(sc.times(loginPath)); got < 5 {
			t.Errorf("logins at a Vault in trouble = %d; want it tried again and again", got)
		}
		status, body = 200, hour
		if err := askFor(t, s, 35*time.Second); err != nil {
			t.Errorf("when Vault is well again: %v", err)
		}
	})
}

// TestTokenForASecretID puts other things where the secret id goes.
func TestTokenForASecretID(t *testing.T) {
	const lookup = "sys/wrapping/lookup"
	long := strings.Repeat("A", 90)
	for name, tc := range map[string]struct {
		content string
		wrapped bool
		lookup  int
		want    string
		logins  int
	}{
		"wrapping token":           {"hvs." + long, false, 200, "set secret_id_wrapped", 0},
		"service token":            {"hvs." + long, false, 400, "a Vault token stands", 0},
		"batch token":              {"hvb." + long, false, 400, "a Vault token stands", 0},
		"old service token":        {"s." + long[:24], false, 400, "a Vault token stands", 0},
		"old batch token":          {"b." + long, false, 400, "a Vault token stands", 0},
		"secret id, to be wrapped": {"12345678-1234-1234-1234-123456789abc", true, 400, "looks like a secret id", 0},
		"a custom secret id":       {"s.omething", false, 400, "invalid role", 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, sc := bubble(t, func(path string) (int, string) {
					if path == lookup && tc.lookup == 200 {
						return 200, `{"data":{"creation_path":"auth/approle/role/r/secret-id"}}`
					}
					return 400, `{"errors":["invalid role or secret ID"]}`
				})
				fileRole(t, dir, s, tc.wrapped)(tc.content)
				err := askFor(t, s, 10*time.Minute)
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), long[:24]) {
					t.Errorf("error = %v; want one with %q and without the token", err, tc.want)
				}
				if got := len(sc.times(loginPath)); got != tc.logins {
					t.Errorf("logins = %d; want %d", got, tc.logins)
				}
				if got := len(sc.times(lookup)); got > 1 {
					t.Errorf("asked for the wrapping %d times; want once", got)
				}
			})
		})
	}
}
