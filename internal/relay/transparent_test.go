package relay_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTransparency sends generated requests to an upstream, directly and
// through the sidecar, and compares what arrives and what comes back. What
// may differ is listed in sentChanges and returnedChanges, and nothing else.
func TestTransparency(t *testing.T) {
	t.Parallel()
	const cases = 500
	generator := newGenerator(20261123)
	all := make([]*transparencyCase, cases)
	for i := range all {
		all[i] = generator.next(i)
	}
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		number, err := strconv.Atoi(m.first("X-Case"))
		if err != nil {
			return err
		}
		return all[number].answer(w, m, more)
	})
	// A request that may not wait is not sent twice.
	h := startProxy(t, upstream.url(), maxWait(time.Nanosecond))
	applied := make(map[string]int)
	for _, c := range all {
		// After a 429 the next request would have to wait.
		h.forgetQuota()
		direct := c.exchange(t, upstream, upstream.listener.Addr().String())
		proxied := c.exchange(t, upstream, h.Addr())
		if t.Failed() {
			t.Fatalf("case %d:\n%s", c.number, c.describe())
		}
		host := strings.TrimPrefix(upstream.url(), "http://")
		c.compare(t, "arrives", expect(direct.sent, sentChanges(host), applied), comparisonOf(proxied.sent))
		c.compare(t, "comes back", expect(direct.returned, returnedChanges(), applied), comparisonOf(proxied.returned))
		if t.Failed() {
			t.Fatalf("case %d:\n%s", c.number, c.describe())
		}
	}
	for _, change := range slices.Concat(sentChanges(""), returnedChanges()) {
		if applied[change.what] == 0 {
			t.Errorf("no case had this change: %s", change.what)
		}
	}
	t.Logf("%d requests; changes seen: %v", cases, applied)
}

// exchanged is a request as it arrived and the answer as it came back.
type exchanged struct{ sent, returned *wireMessage }

// exchange sends the case's request to an address on a connection of its own.
func (c *transparencyCase) exchange(t *testing.T, upstream *wireServer, address string) *exchanged {
	t.Helper()
	before := len(upstream.taken())
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := newWireClient(conn)
	returned, err := c.send(client)
	if err != nil {
		t.Errorf("case %d to %s: %v", c.number, address, err)
		return nil
	}
	taken := upstream.taken()
	if len(taken) != before+1 {
		t.Errorf("case %d to %s: the upstream got %d requests; the answer was %s %s",
			c.number, address, len(taken)-before, returned.start, returned.body)
		return nil
	}
	return &exchanged{taken[before], returned}
}

// change is something that the sidecar does to a message on purpose.
type change struct {
	what string
	// apply does the same, and reports whether there was anything to do.
	apply func(*comparison) bool
}

// comparison is a message in a form in which two can be compared: without
// what may differ on any two connections.
type comparison struct {
	start           string
	header, trailer map[string][]string
	body            string
	interim         []string
}

func comparisonOf(m *wireMessage) *comparison {
	c := &comparison{start: m.start, header: byName(m.header), trailer: byName(m.trailer), body: string(m.body)}
	for i := range m.interim {
		interim := comparisonOf(&m.interim[i])
		c.interim = append(c.interim, fmt.Sprintf("%d %v", m.interim[i].status(), interim.header))
	}
	if m.status() > 0 && !strings.Contains(m.start, " HTTP/") {
		// The reason phrase is the server's own (RFC 9112, 4).
		c.start = strconv.Itoa(m.status())
	}
	// How the body is framed is between two neighbours (RFC 9112, 6). With
	// no body, as for HEAD, the length is a fact about the resource.
	if m.chunked || len(m.body) > 0 || strings.Contains(m.start, " HTTP/") || m.first("Content-Length") == "0" {
		delete(c.header, "content-length")
	}
	delete(c.header, "transfer-encoding")
	delete(c.header, "trailer")
	return c
}

func byName(fields []field) map[string][]string {
	header := make(map[string][]string)
	for _, f := range fields {
		name := strings.ToLower(f.name)
		header[name] = append(header[name], f.value)
	}
	return header
}

// expect returns what a message should be after the changes.
func expect(m *wireMessage, changes []change, applied map[string]int) *comparison {
	c := comparisonOf(m)
	for _, change := range changes {
		if change.apply(c) {
			applied[change.what]++
		}
	}
	return c
}

// without removes the headers for which drop says so.
func without(drop func(name string) bool) func(*comparison) bool {
	return func(c *comparison) bool {
		before := len(c.header)
		maps.DeleteFunc(c.header, func(name string, _ []string) bool { return drop(name) })
		return len(c.header) < before
	}
}

func names(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// hopByHop removes the headers that are between two neighbours, and those
// that Connection names (RFC 9110, 7.6.1).
func hopByHop(c *comparison) bool {
	drop := []string{"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "upgrade", "http2-settings"}
	for _, value := range c.header["connection"] {
		for name := range strings.SplitSeq(value, ",") {
			drop = append(drop, strings.ToLower(strings.TrimSpace(name)))
		}
	}
	return without(names(drop...))(c)
}

// pragma is what Go's HTTP parser makes of the header that HTTP/1.0 had
// instead of Cache-Control (RFC 9111, 5.4).
func pragma(c *comparison) bool {
	_, has := c.header["cache-control"]
	if has || len(c.header["pragma"]) == 0 || c.header["pragma"][0] != "no-cache" {
		return false
	}
	c.header["cache-control"] = []string{"no-cache"}
	return true
}

// sentChanges are the changes of a request.
func sentChanges(host string) []change {
	set := func(name, value string) func(*comparison) bool {
		return func(c *comparison) bool {
			c.header[name] = []string{value}
			return true
		}
	}
	return []change{
		{"Host is HubSpot's", set("host", host)},
		{"Authorization is the user's access token", set("authorization", "Bearer "+testToken)},
		{"headers for the sidecar stay here", without(names("x-hubspot-user", "x-hubspot-max-wait", "x-hubspot-priority"))},
		{"Cookie stays here", without(names("cookie"))},
		{"headers about the way stay here", without(func(name string) bool {
			return name == "forwarded" || name == "via" || strings.HasPrefix(name, "x-forwarded-")
		})},
		{"hop-by-hop headers of a request stay here", hopByHop},
		{"hapikey goes out of the query", func(c *comparison) bool {
			// The generator puts it last.
			line := strings.TrimSuffix(c.start, " HTTP/1.1")
			for _, key := range developerKeys {
				before, ok := strings.CutSuffix(line, key)
				if ok && (strings.HasSuffix(before, "&") || strings.HasSuffix(before, "?")) {
					c.start = before[:len(before)-1] + " HTTP/1.1"
					return true
				}
			}
			return false
		}},
		{"an empty User-Agent is none", func(c *comparison) bool {
			return slices.Equal(c.header["user-agent"], []string{""}) && without(names("user-agent"))(c)
		}},
		{"Pragma: no-cache in a request is Cache-Control too", pragma},
	}
}

// returnedChanges are the changes of an answer.
func returnedChanges() []change {
	return []change{
		{"Set-Cookie stays here", without(names("set-cookie"))},
		// They speak of HubSpot's origin, and are wrong for ours.
		{"headers about HubSpot's origin stay here", without(func(name string) bool {
			return strings.HasPrefix(name, "access-control-") || name == "strict-transport-security" || name == "clear-site-data" || name == "service-worker-allowed" || name == "nel"
		})},
		// Another user or caller gets another answer from the same URL.
		{"Vary says what the answer depends on", func(c *comparison) bool {
			if slices.ContainsFunc(c.header["cache-control"], func(value string) bool { return strings.Contains(value, "no-store") }) {
				return false
			}
			c.header["vary"] = append(c.header["vary"], "Authorization, X-HubSpot-User, X-HubSpot-As")
			return true
		}},
		{"X-HubSpot-Portal is added", func(c *comparison) bool {
			c.header["x-hubspot-portal"] = []string{strconv.Itoa(testHubID)}
			return true
		}},
		{"Proxy-Status is added", func(c *comparison) bool {
			c.header["proxy-status"] = append(c.header["proxy-status"], "caddy-hubspot; received-status="+c.start+`; details="tries=1"`)
			return true
		}},
		{"hop-by-hop headers of an answer stay here", hopByHop},
		{"Alt-Svc is about HubSpot's address", without(names("alt-svc"))},
		{"Date is added where it is missing", func(c *comparison) bool {
			if _, ok := c.header["date"]; ok {
				return false
			}
			c.header["date"] = []string{anyDate}
			return true
		}},
		{"304 has no headers about the body it does not have", func(c *comparison) bool {
			return c.start == "304" && without(names("content-type", "content-length"))(c)
		}},
		{"Pragma: no-cache in an answer is Cache-Control too", pragma},
	}
}

// anyDate stands for a date that a server made up.
const anyDate = "any"

func (c *transparencyCase) compare(t *testing.T, what string, want, got *comparison) {
	t.Helper()
	if slices.Equal(want.header["date"], []string{anyDate}) && len(got.header["date"]) == 1 {
		got.header["date"] = []string{anyDate}
	}
	// Whether the connection goes on is between two neighbours.
	delete(got.header, "connection")
	if want.start != got.start {
		t.Errorf("%s %q, want %q", what, got.start, want.start)
	}
	if want.body != got.body {
		t.Errorf("%s with a body of %d bytes, want %d", what, len(got.body), len(want.body))
	}
	if !slices.Equal(want.interim, got.interim) {
		t.Errorf("%s after %q, want %q", what, got.interim, want.interim)
	}
	compareFields(t, what+" with header", want.header, got.header)
	compareFields(t, what+" with trailer", want.trailer, got.trailer)
}

func compareFields(t *testing.T, what string, want, got map[string][]string) {
	t.Helper()
	for name := range want {
		if !slices.Equal(want[name], got[name]) {
			t.Errorf("%s %s: %q, want %q", what, name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s %s: %q, want none", what, name, got[name])
		}
	}
}
