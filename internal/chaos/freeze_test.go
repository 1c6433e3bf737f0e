package chaos_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// tellFreezes has a sidecar's admin API freeze or lift the calls for acme.
func tellFreezes(t *testing.T, s *sidecar, method string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://localhost/hubspot/freezes", strings.NewReader(`{"user":"acme"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.admin.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s of a freeze: %s", method, resp.Status)
	}
}

// wantWithin waits until calls through a sidecar get a status.
func wantWithin(t *testing.T, s *sidecar, want int, limit time.Duration) {
	t.Helper()
	client := &http.Client{Transport: s.transport, Timeout: callTimeout}
	begun, ticker := time.Now(), time.NewTicker(20*time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		status, err := callContacts(client)
		if status == want {
			t.Logf("sidecar %d answers %d after %v", s.number, want, time.Since(begun).Round(time.Millisecond))
			return
		}
		if time.Since(begun) > limit {
			t.Fatalf("sidecar %d answers %d, %v after %v; want %d", s.number, status, err, limit, want)
		}
	}
}

// TestFreezeReachesOtherProcesses freezes through one of two processes that
// share a store and know nothing of each other, and kills the other.
func TestFreezeReachesOtherProcesses(t *testing.T) {
	t.Parallel()
	const promised = 5 * time.Second
	hubspot, err := sandbox.New(sandbox.Options{Quota: sandbox.Quota{Requests: 100_000, Interval: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(hubspot)
	t.Cleanup(server.Close)
	processes := newNursery()
	t.Cleanup(processes.close)
	setup := plainSidecar{
		binary: buildCaddy(t), processes: processes, hubspot: server.URL,
		quota: sandbox.Quota{Requests: 100_000, Interval: time.Second}, storage: t.TempDir(),
	}
	one := startPlain(t, setup)
	setup.number = 1
	other := startPlain(t, setup)
	if err := connectAcme(one); err != nil {
		t.Fatal(err)
	}
	wantWithin(t, other, http.StatusOK, patience)

	tellFreezes(t, one, http.MethodPost)
	wantWithin(t, one, http.StatusForbidden, 0)
	wantWithin(t, other, http.StatusForbidden, promised)

	other.kill()
	if err := other.start(); err != nil {
		t.Fatal(err)
	}
	if err := other.waitLive(); err != nil {
		t.Fatal(err)
	}
	wantWithin(t, other, http.StatusForbidden, 0)

	tellFreezes(t, other, http.MethodDelete)
	wantWithin(t, one, http.StatusOK, promised)
}
