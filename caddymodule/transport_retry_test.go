package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

const contacts = "/crm/objects/2026-09/contacts"

// startSandboxed starts a Caddy in front of a sandbox with the user acme
// connected to it.
func startSandboxed(t *testing.T, caddyfile string, options ...harnessOption) *harness {
	t.Helper()
	h := startCaddy(t, caddyfile, options...)
	h.Connect("acme", sandbox.DemoHubID)
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
	h := startSandboxed(t, hubspotCaddyfile("", authAndProxy))
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
		{"429 of a body that is too long to be kept", "POST", contacts, `{"properties":{"email":"long@example.com"}}` + strings.Repeat(" ", maxKept), `"answer":"rate_limited","times":1`, 429, "1", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if strings.Contains(tc.body, "%d") {
				tc.body = fmt.Sprintf(tc.body, i)
			}
			// A bucket that is closed would delay the next case.
			if err := h.Load(hubspotCaddyfile("", authAndProxy+fmt.Sprintf(" {\n max_wait %dms\n }", 8000+i))); err != nil {
				t.Fatal(err)
			}
			hub(h).limiter = newTestLimiter(hub(h))
			before := h.Sandbox.Stats().APIFaults
			h.Fault(`{"api":{` + tc.fault + `}}`)
			got, tries, took := h.call(tc.method, tc.path, tc.body)
			if got.StatusCode != tc.status || tries != tc.tries {
				t.Errorf("%s after %s tries and %v: %s", got.Status, tries, took, got.Text)
			}
			if n := h.Sandbox.Stats().APIFaults - before; n != tc.faults {
				t.Errorf("the fault came about %d times, want %d", n, tc.faults)
			}
			h.Do(http.MethodDelete, h.SandboxURL+"/_sandbox/faults", nil)
		})
	}
}

// TestRetriesKeepToTheDeadline has HubSpot ask for more time than the caller
// has.
func TestRetriesKeepToTheDeadline(t *testing.T) {
	h := startSandboxed(t, hubspotCaddyfile("", authAndProxy))
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
			hub(h).limiter = newTestLimiter(hub(h))
			h.Fault(`{"api":{` + tc.fault + `,"times":1}}`)
			got, tries, took := h.call("GET", contacts, "", "X-HubSpot-Max-Wait", tc.wait)
			if got.StatusCode != tc.status || tries != "1" || took > 900*time.Millisecond {
				t.Errorf("%s after %s tries and %v: %s", got.Status, tries, took, got.Text)
			}
			if strings.Contains(got.Text, "SIDECAR") {
				t.Errorf("HubSpot's own answer did not pass: %s", got.Text)
			}
			h.Do(http.MethodDelete, h.SandboxURL+"/_sandbox/faults", nil)
		})
	}
}

// TestClosedBodyIsThereForAnotherTry has a try end before the body was read.
func TestClosedBodyIsThereForAnotherTry(t *testing.T) {
	closed := false
	r := &http.Request{Body: &closeNoter{Reader: strings.NewReader("content"), closed: &closed}, ContentLength: 7}
	body := keepBody(r)
	_ = r.Body.Close()
	next, ok := body.again(false)
	if !ok || closed {
		t.Fatal("the body is gone")
	}
	if _, ok := body.again(true); ok {
		t.Error("a request that may have left can be sent again without its body")
	}
	text, err := io.ReadAll(next)
	if string(text) != "content" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	_ = next.Close()
	next, ok = body.again(true)
	if text, _ = io.ReadAll(next); !ok || string(text) != "content" || !closed {
		t.Errorf("the third time: %q", text)
	}
}

type closeNoter struct {
	io.Reader
	closed *bool
}

func (c *closeNoter) Close() error {
	*c.closed = true
	return nil
}
