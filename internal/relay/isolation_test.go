package relay_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Nothing goes from one customer to another, and nothing to strangers.

// The same URL is another answer for another user or caller, so a cache has to
// know what it depends on, unless HubSpot has let nothing be kept.
func TestVary(t *testing.T) {
	t.Parallel()
	header := userid.Source{Header: "X-Hubspot-User"}
	for _, tc := range []struct {
		name   string
		user   userid.Source
		answer []string
		want   []string
	}{
		{"nothing said", header, nil, []string{"Authorization, X-HubSpot-User, X-HubSpot-As"}},
		{"for a while", header, []string{"Cache-Control: max-age=60, public"}, []string{"Authorization, X-HubSpot-User, X-HubSpot-As"}},
		{"with HubSpot's own", header, []string{"Vary: origin, Accept-Encoding"}, []string{"origin, Accept-Encoding", "Authorization, X-HubSpot-User, X-HubSpot-As"}},
		{"not to be kept", header, []string{"Cache-Control: private, no-store", "Vary: origin"}, []string{"origin"}},
		{"not to be kept, said twice", header, []string{"Cache-Control: private", "Cache-Control: no-store"}, nil},
		{"another header", userid.Source{Header: "X-Tenant"}, nil, []string{"Authorization, X-Tenant, X-HubSpot-As"}},
		{"a constant", userid.Source{Constant: "acme"}, nil, []string{"Authorization, X-HubSpot-As"}},
		{"something else", userid.Source{Lookup: func(*http.Request) string { return "acme" }}, nil, []string{"*"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, status := range []int{200, 404} {
				h := startProxy(t, echoing(t, jsonAnswer(status, "{}", tc.answer...)).url(), func(c *relay.Config) { c.User = tc.user })
				got := h.raw("GET /crm/x", "X-HubSpot-User: acme", "X-Tenant: acme")
				if vary := got.Header.Values("Vary"); got.StatusCode != status || !slices.Equal(vary, tc.want) {
					t.Errorf("%s with Vary %q, want %q", got.Status, vary, tc.want)
				}
			}
		})
	}
}

// Our own errors are kept by nobody.
func TestOwnErrorsAreNotKept(t *testing.T) {
	t.Parallel()
	h, _ := startErrors(t)
	for _, got := range []answer{h.Get("/crm/x", "globex-1"), h.Get("/oauth/x", "acme"), h.Get("/crm/x", "")} {
		if got.StatusCode < 400 || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s with Cache-Control %q", got.Status, got.Header.Get("Cache-Control"))
		}
	}
}

// aboutHubSpotsOrigin are headers that would be taken for ours.
var aboutHubSpotsOrigin = []string{
	"Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "access-control-expose-headers: x", "Access-Control-Max-Age: 9",
	"Clear-Site-Data: *", "Service-Worker-Allowed: /", "Strict-Transport-Security: max-age=31536000", "Set-Cookie: a=b", "Alt-Svc: h3",
	"NEL: {}", "Report-To: {}", "Reporting-Endpoints: a=\"https://x\"", "Expect-CT: max-age=1", "Accept-CH: DPR", "Origin-Agent-Cluster: ?1", "Public-Key-Pins: a",
}

func TestHeadersAboutHubSpotsOriginStayThere(t *testing.T) {
	t.Parallel()
	trailer := make([]string, 0, len(aboutHubSpotsOrigin))
	for _, line := range aboutHubSpotsOrigin {
		name, _, _ := strings.Cut(line, ":")
		trailer = append(trailer, name)
	}
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Kept, " + strings.Join(trailer, ", ") + "\r\n\r\n2\r\n{}\r\n0\r\nX-Kept: 1\r\n" +
		strings.Join(aboutHubSpotsOrigin, "\r\n") + "\r\nX-HubSpot-Portal: 1\r\n\r\n"
	kept := append(slices.Clone(aboutHubSpotsOrigin), "X-Kept: 1")
	hints := "HTTP/1.1 103 Early Hints\r\n" + strings.Join(kept, "\r\n") + "\r\n\r\n"
	for name, answer := range map[string]string{
		"header": jsonAnswer(200, "{}", kept...), "trailer": chunked, "early hints": hints + jsonAnswer(200, "{}", "X-Kept: 1"),
		"header of an error": jsonAnswer(404, "{}", kept...), "no content": "HTTP/1.1 204 No\r\n" + strings.Join(kept, "\r\n") + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startProxy(t, echoing(t, answer).url())
			client := dialWire(t, h.Addr())
			client.write(t, acmeHead("GET /crm/x")+"TE: trailers\r\n\r\n")
			got, err := client.readAnswer("GET")
			if err != nil {
				t.Fatal(err)
			}
			all := append(slices.Clone(got.header), got.trailer...)
			for _, interim := range got.interim {
				all = append(all, interim.header...)
			}
			found := false
			for _, f := range all {
				found = found || f.name == "X-Kept"
				if slices.ContainsFunc(aboutHubSpotsOrigin, func(line string) bool { return strings.HasPrefix(strings.ToLower(line), strings.ToLower(f.name)+":") }) ||
					f == (field{"X-Hubspot-Portal", "1"}) {
					t.Errorf("%s came down", f)
				}
			}
			if !found {
				t.Errorf("X-Kept is not in %v", all)
			}
		})
	}
}

// What stays here of a header stays here of a trailer, too.
func TestRequestTrailersObeyTheHeaderRules(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), func(c *relay.Config) { c.User = userid.Source{Header: "X-Tenant"} })
	local := []string{
		"Authorization", "Cookie", "Forwarded", "Via", "X-HubSpot-User", "X-HubSpot-Max-Wait", "X-HubSpot-Priority", "X-Forwarded-For", "X-Forwarded-Anything",
		"X-Tenant", "Proxy-Authorization", "Connection", "Keep-Alive", "TE", "Upgrade", "Host", "X-HTTP-Method-Override", "X-Original-URL",
	}
	request := acmeHead("POST /crm/x") + "X-Tenant: acme\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, " + strings.Join(local, ", ") + "\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 9\r\n"
	for _, name := range local {
		request += name + ": acme\r\n"
	}
	client := dialWire(t, h.Addr())
	client.write(t, request+"\r\n")
	got, err := client.readAnswer("POST")
	if err != nil || got.status() != 200 {
		t.Fatalf("%+v, %v", got, err)
	}
	sent := upstream.last(t)
	if !slices.Equal(sent.trailer, []field{{"X-Sum", "9"}}) {
		t.Errorf("the trailer %v went up", sent.trailer)
	}
	if announced := sent.get("Trailer"); !slices.Equal(announced, []string{"X-Sum"}) {
		t.Errorf("Trailer %q", announced)
	}
}

// HTTP/2 has trailers after an empty body, and with a length.
func TestTrailersOverHTTP2(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen <- maps.Clone(r.Trailer)
		w.Header().Set("Trailer", "X-Debug, X-Sum, Set-Cookie")
		switch r.URL.Path {
		case "/empty":
			w.Header().Set("Content-Length", "0")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/unchanged":
			w.WriteHeader(http.StatusNotModified)
		case "/length":
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "{}")
		}
		w.Header().Set("X-Debug", "Bearer "+testToken)
		w.Header().Set("X-Sum", "9")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set(http.TrailerPrefix+"X-Late", testToken)
	}))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	defer upstream.Close()
	h := startProxy(t, upstream.URL, trusting(t, upstream))
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, path := range []string{"/empty", "/nothing", "/unchanged", "/length", "/none"} {
			client := dialWire(t, h.Addr())
			request := acmeHead(method+" "+path) + "TE: trailers\r\n"
			if method == "POST" {
				request += "Transfer-Encoding: chunked\r\nTrailer: X-Sum, Authorization\r\n\r\n0\r\nX-Sum: 9\r\nAuthorization: x\r\n"
			}
			client.write(t, request+"\r\n")
			got, err := client.readAnswer(method)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			if whole := fmt.Sprint(got.header, got.trailer); strings.Contains(whole, testToken) || strings.Contains(whole, "a=b") {
				t.Errorf("%s %s: %s", method, path, whole)
			}
			if sent := <-seen; method == "POST" && (sent.Get("X-Sum") != "9" || len(sent) != 1) {
				t.Errorf("%s %s: the trailer %v went up", method, path, sent)
			}
		}
	}
}
