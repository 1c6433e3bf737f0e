package relay_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
)

// hublet is a HubSpot of several hosts, in memory.
type hublet struct {
	// correct is what is said of where the account is, and home where it is.
	correct, home string

	mu    sync.Mutex
	hosts []string
}

func (h *hublet) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	h.mu.Lock()
	h.hosts = append(h.hosts, r.URL.Host)
	h.mu.Unlock()
	status, body := 200, "{}"
	if r.URL.Host != h.home || r.Host != h.home {
		status, body = 488, `{"status":"error","message":"Hub 4711 is unknown to this Hublet","correctHublet":"`+h.correct+`"}`
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

func (h *hublet) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.hosts)
}

const (
	globalHost = "api.hubapi.com"
	euHost     = "api-eu1.hubapi.com"
)

// An account that is in another data centre than its token says is asked there,
// from then on without a detour.
func TestWrongHublet(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", relay.MaxKept+1)
	for _, tc := range []struct {
		name, correct, home, method, body string
		oneHost                           bool
		api                               string
		statuses                          []int
		hosts                             []string
	}{
		{name: "read", correct: "eu1", home: euHost, method: "GET", statuses: []int{200, 200}, hosts: []string{globalHost, euHost, euHost}},
		// It was not processed, so any method can be sent again.
		{name: "write", correct: "eu1", home: euHost, method: "POST", body: "{}", statuses: []int{200, 200}, hosts: []string{globalHost, euHost, euHost}},
		// What cannot be sent again teaches the next call.
		{name: "body too large to be kept", correct: "eu1", home: euHost, method: "POST", body: large, statuses: []int{488, 200}, hosts: []string{globalHost, euHost}},
		{name: "switched off", correct: "eu1", home: euHost, method: "GET", oneHost: true, statuses: []int{488, 488}, hosts: []string{globalHost, globalHost}},
		{name: "the global one", correct: "na1", home: "elsewhere.example", method: "GET", statuses: []int{488, 488}, hosts: []string{globalHost, globalHost}},
		{name: "no end of it", correct: "eu1", home: "elsewhere.example", method: "GET", statuses: []int{488, 488}, hosts: []string{globalHost, euHost, euHost}},
		{name: "a host", correct: "evil.example/", home: "api-evil.example", method: "GET", statuses: []int{488, 488}, hosts: []string{globalHost, globalHost}},
		{name: "capitals", correct: "EU1", home: euHost, method: "GET", statuses: []int{488, 488}, hosts: []string{globalHost, globalHost}},
		{name: "a dot", correct: "eu1.x", home: euHost, method: "GET", statuses: []int{488, 488}, hosts: []string{globalHost, globalHost}},
		{name: "nothing", correct: "", home: euHost, method: "GET", statuses: []int{488, 488}, hosts: []string{globalHost, globalHost}},
		{name: "an API of one's own", correct: "eu1", home: euHost, method: "GET", api: "https://api.example.com", statuses: []int{488, 488}, hosts: []string{"api.example.com", "api.example.com"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			upstream := &hublet{correct: tc.correct, home: tc.home}
			if tc.api == "" {
				tc.api = hubspot.DefaultAPI
			}
			h := startProxy(t, tc.api, func(c *relay.Config) { c.Transport, c.OneHost = upstream, tc.oneHost })
			for _, status := range tc.statuses {
				got := h.Do(tc.method, "/crm/x", strings.NewReader(tc.body), "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
				if got.StatusCode != status {
					t.Errorf("%s %s, want %d", got.Status, got.Text, status)
				}
			}
			if got := upstream.asked(); !slices.Equal(got, tc.hosts) {
				t.Errorf("asked %v, want %v", got, tc.hosts)
			}
		})
	}
}
