package vaultstore

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// These tests look at when the session and the breaker do what they do. They
// run in a bubble with a clock of its own, where there is no network.

// script is a transport that answers by a function and writes down when it
// was asked.
type script struct {
	answer func(path string) (int, string)

	mu    sync.Mutex
	start time.Time
	asked map[string][]time.Duration
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	s.mu.Lock()
	s.asked[path] = append(s.asked[path], time.Since(s.start))
	s.mu.Unlock()
	status, body := s.answer(path)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	_, _ = w.WriteString(body)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (s *script) times(path string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked[path])
}

// bubble makes a store over a script. It has to be called in a bubble.
func bubble(t *testing.T, answer func(path string) (int, string)) (*Store, *script) {
	t.Helper()
	s, err := New(Config{
		Address: "http://localhost:1", Logger: slog.New(slog.DiscardHandler),
		Auth: AppRoleAuth{RoleID: secret.New("r"), SecretID: secret.New("s")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	sc := &script{answer: answer, start: time.Now(), asked: make(map[string][]time.Duration)}
	s.client.http.Transport = answers{sc}
	return s, sc
}

const (
	loginPath = "auth/approle/login"
	renewPath = "auth/token/renew-self"
	mountPath = "sys/internal/ui/mounts/secret"
	mountBody = `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`
	hour      = `{"auth":{"client_token":"t","lease_duration":3600,"renewable":true}}`
)

// near allows for the jitter of 10 %.
func near(got, want time.Duration) bool {
	return got >= want*9/10 && got <= want*11/10
}

func TestRenewalIsAtTwoThirds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sc := bubble(t, func(string) (int, string) { return 200, hour })
		if _, err := s.session.current(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(45 * time.Minute)
		renewals := sc.times(renewPath)
		if len(renewals) != 1 || !near(renewals[0], 40*time.Minute) {
			t.Fatalf("renewals at %v; want one at about 40m", renewals)
		}
		time.Sleep(12 * time.Hour)
		if got := len(sc.times(renewPath)); got < 15 || got > 22 {
			t.Errorf("renewals in 12h45m = %d; want one per 40m or so", got)
		}
		if got := len(sc.times(loginPath)); got != 1 {
			t.Errorf("logins = %d; want 1", got)
		}
	})
}

// TestLoginBeforeMaximumLife lets renewals give less than the login did.
func TestLoginBeforeMaximumLife(t *testing.T) {
	for _, seconds := range []string{"600", "0"} {
		synctest.Test(t, func(t *testing.T) {
			s, sc := bubble(t, func(path string) (int, string) {
				if path == renewPath {
					return 200, `{"auth":{"client_token":"t","lease_duration":` + seconds + `,"renewable":true}}`
				}
				return 200, hour
			})
			if _, err := s.session.current(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(53 * time.Minute)
			logins := sc.times(loginPath)
			if len(logins) != 2 || len(sc.times(renewPath)) != 1 {
				t.Errorf("renewed for %ss: logins at %v, renewals at %v; want a second login soon after one renewal",
					seconds, logins, sc.times(renewPath))
			}
		})
	}
}

// TestRenewalFailures falls back to a login where the token is refused, and
// tries again where Vault is ill.
func TestRenewalFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		logins  int
		atLeast int
	}{
		"refused": {400, 2, 1},
		"denied":  {403, 2, 1},
		"ill":     {500, 1, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, sc := bubble(t, func(path string) (int, string) {
				if path == renewPath {
					return tc.status, `{"errors":["no"]}`
				}
				return 200, hour
			})
			if _, err := s.session.current(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(44*time.Minute + 10*time.Second)
			if got := len(sc.times(loginPath)); got != tc.logins {
				t.Errorf("%s: logins = %d; want %d", name, got, tc.logins)
			}
			if got := len(sc.times(renewPath)); got < tc.atLeast {
				t.Errorf("%s: renewals = %d; want %d or more", name, got, tc.atLeast)
			}
			if _, err := s.session.current(t.Context()); err != nil {
				t.Errorf("%s: the token is good for another 15m, but: %v", name, err)
			}
		})
	}
}

// TestOneLoginForAll lets many callers wait for one slow login, each with its
// own patience.
func TestOneLoginForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sc := bubble(t, func(string) (int, string) {
			time.Sleep(2 * time.Second)
			return 200, hour
		})
		started := time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			if i == 20 {
				continue // a tie
			}
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Millisecond)
				defer cancel()
				_, err := s.session.current(ctx)
				patient := i > 20
				if patient != (err == nil) || !patient && (!errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, connection.ErrUnavailable)) {
					t.Errorf("caller with %d00ms: error = %v", i, err)
				}
				if waited := time.Since(started); waited > time.Duration(i)*100*time.Millisecond {
					t.Errorf("caller with %d00ms waited %v", i, waited)
				}
			})
		}
		wg.Wait()
		if got := len(sc.times(loginPath)); got != 1 {
			t.Errorf("logins = %d; want 1", got)
		}
	})
}

// TestRefusedLoginsBecomeRare lets callers ask all the time. The login is one
// that Vault does not lock out: that of AppRole is in lockout_test.go.
func TestRefusedLoginsBecomeRare(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jwt")
	if err := os.WriteFile(file, []byte("j"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, sc := bubble(t, func(string) (int, string) { return 400, `{"errors":["invalid role or secret ID"]}` })
		s.session.method = JWTAuth{Mount: "approle", Role: "r", TokenFile: file}.method()
		for range 3000 {
			if _, err := s.session.current(t.Context()); !errors.Is(err, connection.ErrUnavailable) {
				t.Fatalf("error = %v; want ErrUnavailable", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		logins := sc.times(loginPath)
		if len(logins) < 10 || len(logins) > 20 {
			t.Errorf("logins in 5m = %d at %v; want them 1, 2, 4, … 30s apart", len(logins), logins)
		}
	})
}

// TestDeniedRequestsLogInRarely is a policy that does not allow a request,
// which looks to us like a dead token.
func TestDeniedRequestsLogInRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sc := bubble(t, func(path string) (int, string) {
			switch path {
			case loginPath:
				return 200, hour
			case mountPath:
				return 200, mountBody
			}
			return 403, `{"errors":["permission denied"]}`
		})
		for range 3000 {
			_, err := s.ID(t.Context(), connection.Key{App: "hbdev", User: "u"})
			if !errors.Is(err, errDenied) {
				t.Fatalf("error = %v; want errDenied", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := len(sc.times(loginPath)); got < 5 || got > 20 {
			t.Errorf("logins in 5m = %d; want a few", got)
		}
		before := len(sc.times(loginPath))
		time.Sleep(5 * time.Minute)
		_, _ = s.ID(t.Context(), connection.Key{App: "hbdev", User: "u"})
		if got := len(sc.times(loginPath)); got != before+1 {
			t.Errorf("logins for a 403 after a quiet time = %d; want 1 at once", got-before)
		}
	})
}

// TestReplacementsThatHelp takes each token away after a second or so. No
// request may suffer, because every login helps.
func TestReplacementsThatHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logins, good atomic.Int64
		s, _ := bubble(t, func(path string) (int, string) {
			switch {
			case path == loginPath:
				good.Store(logins.Add(1))
				return 200, hour
			case path == mountPath:
				return 200, mountBody
			case strings.HasSuffix(path, "/key"):
				return 200, `{"data":{"data":{"key":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="},"metadata":{"version":1}}}`
			case good.Load() == 0:
				return 403, `{"errors":["permission denied"]}`
			}
			return 404, `{"errors":[]}`
		})
		for i := range 100 {
			if _, err := s.Load(t.Context(), connection.Key{App: "hbdev", User: "u"}); !errors.Is(err, connection.ErrNotFound) {
				t.Fatalf("Load %d = %v; want ErrNotFound", i, err)
			}
			time.Sleep(300 * time.Millisecond)
			if i%4 == 3 {
				good.Store(0)
			}
		}
		if got := logins.Load(); got != 25 {
			t.Errorf("logins = %d; want 25, one for each token that was taken away and the first", got)
		}
	})
}

// TestBreaker counts what a Vault in trouble is asked.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ill := true
		var mu sync.Mutex
		s, sc := bubble(t, func(path string) (int, string) {
			mu.Lock()
			defer mu.Unlock()
			if ill {
				return 0, ""
			}
			return 200, map[bool]string{true: hour, false: mountBody}[path == loginPath]
		})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				started := time.Now()
				if err := s.checkMount(t.Context()); err == nil {
					t.Error("the mount is good although Vault does not answer")
				}
				if waited := time.Since(started); waited > 10*time.Second {
					t.Errorf("waited %v", waited)
				}
			})
		}
		wg.Wait()
		// The caller's timeout is that of a Store's method.
		for range 10 {
			_, _ = s.Load(t.Context(), connection.Key{App: "hbdev", User: "u"})
		}
		started := time.Now()
		for range 1000 {
			if _, err := s.Load(t.Context(), connection.Key{App: "hbdev", User: "u"}); !errors.Is(err, connection.ErrUnavailable) {
				t.Fatalf("error = %v; want ErrUnavailable", err)
			}
		}
		if waited := time.Since(started); waited > 0 {
			t.Errorf("1000 calls to an ill Vault waited %v; want none at all", waited)
		}
		requests := len(sc.times(loginPath)) + len(sc.times(mountPath))
		time.Sleep(time.Minute)
		if got := len(sc.times(loginPath)) + len(sc.times(mountPath)); got > requests+1 {
			t.Errorf("%d requests went out to an ill Vault", got-requests)
		}
		// A probe takes the 3s timeout here, and there is 1s between two.
		if got := len(sc.times("sys/health")); got < 12 || got > 25 {
			t.Errorf("probes in a minute = %d; want about 15", got)
		}
		mu.Lock()
		ill = false
		mu.Unlock()
		time.Sleep(6 * time.Second)
		if err := s.checkMount(t.Context()); err != nil {
			t.Errorf("Vault is well again, but: %v", err)
		}
	})
}
