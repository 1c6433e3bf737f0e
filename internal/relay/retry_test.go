package relay_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

const contacts = "/crm/objects/2026-09/contacts"

// startSandboxed starts a relay in front of a sandbox with the user acme
// connected to it.
func startSandboxed(t testing.TB, c sidecartest.Config, change ...func(*relay.Config)) *harness {
	t.Helper()
	h := start(t, c, change...)
	h.ConnectInSandbox("acme", sandbox.DemoHubID)
	return h
}

// call makes a request as acme and returns the answer with the number of
// tries that Proxy-Status tells of, and how long it took.
func (h *harness) call(method, path, body string, header ...string) (got answer, tries string, took time.Duration) {
	h.t.Helper()
	header = append([]string{"Authorization", "Bearer " + testCallerKey, "X-HubSpot-User", "acme", "Content-Type", "application/json"}, header...)
	begun := time.Now()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	got = h.Do(method, path, content, header...)
	_, tries, _ = strings.Cut(got.Header.Get("Proxy-Status"), "tries=")
	return got, strings.TrimSuffix(tries, `"`), time.Since(begun)
}

func TestRetries(t *testing.T) {
	t.Parallel()
	const (
		search = `{"limit":1}`
		read   = `{"inputs":[{"id":"101"}],"properties":["email"]}`
		create = `{"properties":{"email":"%d@example.com"}}`
	)
	for i, tc := range []struct {
		name, method, path, body string
		fault                    string
		status                   int
		tries                    string
		// faults is how often the sandbox's fault came about.
		faults int64
	}{
		{"429 of a GET", "GET", contacts, "", `"answer":"rate_limited","times":1`, 200, "2", 1},
		{"429 of a POST", "POST", contacts, create, `"answer":"rate_limited","times":1`, 201, "2", 1},
		{"429 of a PATCH, secondly", "PATCH", contacts + "/101", `{"properties":{"firstname":"A"}}`, `"answer":"rate_limited","policy":"SECONDLY","times":1`, 200, "2", 1},
		{"429 of search", "POST", contacts + "/search", search, `"answer":"rate_limited","policy":"SEARCH","times":1`, 200, "2", 1},
		{"429 twice", "GET", contacts, "", `"answer":"rate_limited","times":2`, 200, "3", 2},
		{"429 all the time", "GET", contacts, "", `"answer":"rate_limited","times":3`, 429, "3", 3},
		{"429 with a time that is too long", "GET", contacts, "", `"answer":"rate_limited","retry_after":3600,"times":1,"hub_id":0`, 429, "1", 1},
		{"423 of a POST", "POST", contacts, create, `"answer":"locked","retry_after":1,"times":1`, 201, "2", 1},
		{"477 that is soon over", "POST", contacts, create, `"answer":"migration","retry_after":1,"times":1`, 201, "2", 1},
		{"477 that takes hours", "GET", contacts, "", `"answer":"migration","times":1`, 477, "1", 1},
		{"502 of a GET", "GET", contacts, "", `"answer":"gateway_error","times":1`, 200, "2", 1},
		{"503 of a GET with a time", "GET", contacts, "", `"answer":"server_error","status":503,"retry_after":1,"times":1`, 200, "2", 1},
		{"524 of search", "POST", contacts + "/search", search, `"answer":"gateway_error","status":524,"times":1`, 200, "2", 1},
		{"504 of batch/read", "POST", contacts + "/batch/read", read, `"answer":"gateway_error","status":504,"times":1`, 200, "2", 1},
		{"502 of a POST", "POST", contacts, create, `"answer":"gateway_error","times":1`, 502, "1", 1},
		{"502 of a PATCH", "PATCH", contacts + "/101", `{"properties":{"firstname":"A"}}`, `"answer":"gateway_error","times":1`, 502, "1", 1},
		{"502 of batch/update", "POST", contacts + "/batch/update", read, `"answer":"gateway_error","times":1`, 502, "1", 1},
		{"500 of a GET", "GET", contacts, "", `"answer":"server_error","times":1`, 500, "1", 1},
		{"broken connection of a GET", "GET", contacts, "", `"drop":"before","times":1`, 200, "2", 1},
		{"broken connection of batch/read", "POST", contacts + "/batch/read", read, `"drop":"after","times":1`, 200, "2", 1},
		{"broken connection of a POST", "POST", contacts, create, `"drop":"before","times":1`, 502, "1", 1},
		{"broken connection of a DELETE", "DELETE", contacts + "/102", "", `"drop":"after","times":1`, 502, "1", 1},
		{"429 of a body that is too long to be kept", "POST", contacts, `{"properties":{"email":"long@example.com"}}` + strings.Repeat(" ", relay.MaxKept), `"answer":"rate_limited","times":1`, 429, "1", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := startSandboxed(t, sidecartest.Config{})
			if strings.Contains(tc.body, "%d") {
				tc.body = fmt.Sprintf(tc.body, i)
			}
			h.Fault(`{"api":{` + tc.fault + `}}`)
			got, tries, took := h.call(tc.method, tc.path, tc.body)
			if got.StatusCode != tc.status || tries != tc.tries {
				t.Errorf("%s after %s tries and %v: %s", got.Status, tries, took, got.Text)
			}
			if n := h.Sandbox.Stats().APIFaults; n != tc.faults {
				t.Errorf("the fault came about %d times, want %d", n, tc.faults)
			}
		})
	}
}

// TestRetriesKeepToTheDeadline has HubSpot ask for more time than the caller
// has.
func TestRetriesKeepToTheDeadline(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	h := startSandboxed(t, sidecartest.Config{})
	for _, tc := range []struct {
		name, wait, fault string
		status            int
	}{
		{"429", "500ms", `"answer":"rate_limited","retry_after":2`, 429},
		{"429, not waiting", "0", `"answer":"rate_limited"`, 429},
		{"423", "1s", `"answer":"locked"`, 423},
		{"477", "1s", `"answer":"migration","retry_after":2`, 477},
		{"503", "1s", `"answer":"server_error","status":503,"retry_after":2`, 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h.forgetQuota()
			h.Fault(`{"api":{` + tc.fault + `,"times":1}}`)
			got, tries, took := h.call("GET", contacts, "", "X-HubSpot-Max-Wait", tc.wait)
			if got.StatusCode != tc.status || tries != "1" || took > 5*time.Second {
				t.Errorf("%s after %s tries and %v: %s", got.Status, tries, took, got.Text)
			}
			if strings.Contains(got.Text, "SIDECAR") {
				t.Errorf("HubSpot's own answer did not pass: %s", got.Text)
			}
			h.Do(http.MethodDelete, h.SandboxURL+"/_sandbox/faults", nil)
		})
	}
}

// TestRetryAfter has HubSpot ask for a pause in each of the ways there are.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const limited = `{"status":"error","errorType":"RATE_LIMIT","policyName":"TEN_SECONDLY_ROLLING"}`
	const exempt = "/webhooks-journal/journal/2026-09/latest"
	for _, tc := range []struct {
		name, path string
		status     int
		header     []string
		least      time.Duration
	}{
		{"423, seconds", contacts, 423, []string{"Retry-After: 1"}, time.Second},
		{"423, milliseconds", contacts, 423, []string{"Retry-After-Ms: 300"}, 300 * time.Millisecond},
		{"477, seconds", contacts, 477, []string{"Retry-After: 1"}, time.Second},
		{"503, a date", contacts, 503, []string{"Date: Mon, 02 Jan 2006 15:04:05 GMT", "Retry-After: Mon, 02 Jan 2006 15:04:06 GMT"}, time.Second},
		{"524, milliseconds", contacts, 524, []string{"Retry-After-Ms: 300"}, 300 * time.Millisecond},
		{"429, seconds", contacts, 429, []string{"Retry-After: 1"}, time.Second},
		{"429, milliseconds", contacts, 429, []string{"Retry-After-Ms: 300"}, 300 * time.Millisecond},
		{"429, a date", contacts, 429, []string{"Date: Mon, 02 Jan 2006 15:04:05 GMT", "Retry-After: Mon, 02 Jan 2006 15:04:06 GMT"}, time.Second},
		{"429 of what is not counted", exempt, 429, []string{"Retry-After-Ms: 300"}, 300 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			upstream := newWireServer(t, func(w io.Writer, _ *wireMessage, more func() error) error {
				if err := more(); err != nil {
					return err
				}
				answer := jsonAnswer(200, "{}")
				if asked.Add(1) == 1 {
					answer = jsonAnswer(tc.status, limited, tc.header...)
				}
				_, err := io.WriteString(w, answer)
				return err
			})
			h := startProxy(t, upstream.url())
			got, tries, took := h.call("GET", tc.path, "")
			if got.StatusCode != 200 || tries != "2" || took < tc.least {
				t.Errorf("%s after %s tries and %v; it takes %v at the least", got.Status, tries, took, tc.least)
			}
			// Whoever has less time than that is not kept waiting.
			asked.Store(0)
			h.forgetQuota()
			got, tries, _ = h.call("GET", tc.path, "", "X-HubSpot-Max-Wait", "100ms")
			if got.StatusCode != tc.status || tries != "1" || got.Text != limited {
				t.Errorf("without the time: %s after %s tries: %s", got.Status, tries, got.Text)
			}
		})
	}
}
