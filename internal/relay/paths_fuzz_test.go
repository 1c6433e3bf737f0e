package relay

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// fuzzPolicies are the policies that the paths are judged by.
var fuzzPolicies = []struct{ allow, deny []string }{
	{nil, nil},
	{nil, []string{"* /crm/*/gdpr-delete", "DELETE /crm/secret/*", "* /cms/*"}},
	{[]string{"GET /crm/objects/*", "GET,POST /files/*"}, []string{"* /crm/objects/*/private*"}},
	{[]string{"* /a/*", "GET /"}, nil},
}

// fuzzMethods are the methods, one of which is not in the usual case.
var fuzzMethods = []string{"GET", "POST", "DELETE", "delete"}

// How the target reaches the proxy.
const (
	entryPlain = iota
	entryAs
	entryHandlePath
	entryEnvelope
	entryHTTP2
	entries
)

// FuzzPathsMeanOneThing lets the proxy judge a request, and asks models of
// other servers what they would have taken the request for. Whatever is let
// through goes up byte for byte, is the same to all of them as far as the
// policy and the list of blocked endpoints go, and has no control character
// to any.
func FuzzPathsMeanOneThing(f *testing.F) {
	for i, target := range []string{
		"/crm/objects/2026-09/contacts?limit=10", "/files/a%2Fb", "/crm/objects/../secret/x", "/a/..;/oauth/v1/token", "/%6fauth/x", "/a%252f..%252foauth",
		"//oauth/x", `/files/..\oauth`, "/OAuth/x", "/crm/%c0%ae%c0%ae/cms/x", "/localdevauth;a=b/x", "/a/%00", "/a/%0d%0a", "/a/%C2%85", "/a/%85", "/a/\x85",
		"/crm/x/gdpr-delete/", "/crm/x/gdpr%2ddelete;x", "/marketing/v3/transactional/smtp-tokens", "/EMAIL/public/v1/smtpap%C4%B1/tokens", "/a/%EF%BC%8F..",
		"/crm/a/gdpr-delete HTTP/1.1", "/crm/a/gdpr-delete%20", "/crm/a/gdpr-delete\xc2\xad", "/crm/a b?c d", "/as/acme//crm/a", "/a/gdpr-delete.json",
		"http://api.hubapi.com/a/./b", "/as/x/crm/a", "/a/b?c=%0a", "/a/%3f/../b", "/a/#/../oauth", "/crm/objects//private", "/.", "/..", "/%2e%2e%5coauth",
	} {
		f.Add(target, uint8(i), uint8(i), uint8(i))
	}
	paths := newPathCheck(f)
	f.Fuzz(paths.check)
}

// Paths that are made of odd pieces get further than those that a fuzzer
// comes by.
func TestPathsOfOddPieces(t *testing.T) {
	t.Parallel()
	pieces := []string{
		"/", "/", "/", "//", ".", "..", "%2e", "%252e", ";", ";a=b", "%3b", `\`, "%5c", "%2f", "%252f", "%", "%25", "?", "%3f", "#", "%23", "|", "é", "\x85", "%85", "%00", "%c2%80",
		"%c0%ae", "%c0%af", "%e0%80%af", "%ef%bc%8f", "%ff", "%6f", "oauth", "OAuth", "localdevauth", "marketing", "smtp-tokens", "email", "smtpap%c4%b1",
		"crm", "CRM", "objects", "secret", "private", "gdpr-delete", "files", "cms", "a", "b", "x", "as", "hapikey=x", "&",
		"/gdpr-delete.json", "/crm/a", ".json", ".a", "%20", "+", "%c2%ad", "%e2%80%8b", "%e3%80%80",
	}
	rounds := 20_000
	if testing.Short() {
		rounds = 2_000
	}
	paths := newPathCheck(t)
	r := rand.New(rand.NewPCG(3, 2026))
	for range rounds {
		target := "/"
		for range 1 + r.IntN(9) {
			target += pieces[r.IntN(len(pieces))]
		}
		paths.check(t, target, uint8(r.IntN(entries)), uint8(r.IntN(len(fuzzPolicies))), uint8(r.IntN(len(fuzzMethods))))
	}
	if paths.passed == 0 || paths.refused == 0 {
		t.Errorf("%d passed, %d were refused", paths.passed, paths.refused)
	}
}

// pathCheck is a proxy with policies, and their models.
type pathCheck struct {
	relay   *Relay
	callers []*access.Caller
	models  []modelPolicy

	passed, refused int
}

func newPathCheck(t testing.TB) *pathCheck {
	t.Helper()
	c := new(pathCheck)
	for _, policy := range fuzzPolicies {
		c.callers = append(c.callers, fuzzCaller(t, policy.allow, policy.deny))
		c.models = append(c.models, newModelPolicy(policy.allow, policy.deny))
	}
	app := &hubapp.App{Name: "hbdev"}
	logger := slog.New(slog.DiscardHandler)
	desk := admission.NewDesk(admission.Config{Apps: []*hubapp.App{app}, Freezes: new(freeze.Keeper), Metrics: metrics.New(), Logger: logger})
	var err error
	c.relay, err = New(Config{App: app, Desk: desk, Metrics: metrics.New(), Logger: logger, User: userid.Source{Constant: "acme"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *pathCheck) check(t *testing.T, target string, entry, policy, method uint8) {
	i, way := int(policy)%len(p.callers), int(entry)%entries
	c := &Call{relay: p.relay, caller: p.callers[i], method: fuzzMethods[int(method)%len(fuzzMethods)]}
	r, err := enter(c, way, target)
	if err == nil {
		err = c.checkBlocked()
	}
	if err == nil {
		err = c.judge()
	}
	if errors.Is(err, errNoRequest) {
		return
	}
	if err != nil {
		p.refused++
		if e, ok := errors.AsType[*apierror.Error](err); !ok || e.Status != 400 && e.Status != 403 {
			t.Fatalf("%q is refused with %v", target, err)
		}
		return
	}
	p.passed++
	sent := wireTarget(t, c, r)
	if want := entered(way, target); want != "" && sent != want {
		t.Fatalf("%q goes up as %q", want, sent)
	}
	if strings.ContainsFunc(sent, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		t.Fatalf("%q goes up as it is", sent)
	}
	checkModels(t, p.models[i], c.method, sent)
}

func fuzzCaller(f testing.TB, allow, deny []string) *access.Caller {
	f.Helper()
	config := access.CallerConfig{Name: "fuzz", Keys: []secret.Text{secret.New("fuzz-caller-key-0123456789")}}
	for _, list := range []struct {
		rules *[]access.Rule
		texts []string
	}{{&config.Allow, allow}, {&config.Deny, deny}} {
		for _, text := range list.texts {
			rule, err := access.ParseRuleText(text)
			if err != nil {
				f.Fatal(err)
			}
			*list.rules = append(*list.rules, rule)
		}
	}
	caller, err := access.NewCaller(config)
	if err != nil {
		f.Fatal(err)
	}
	return caller
}

// errNoRequest means that no server would have handed the request on.
var errNoRequest = errors.New("no request")

// enter takes a target to the call on one of the ways that there are.
func enter(c *Call, entry int, target string) (*http.Request, error) {
	if entry == entryEnvelope {
		t, err := parseEnvelopeURL(target, c.relay.api.base)
		if target == "" || err != nil {
			return nil, errNoRequest
		}
		c.user, c.target = "acme", t.withoutDeveloperKey()
		c.inbound, err = requestFor("/raw/hbdev")
		return c.inbound, err
	}
	switch entry {
	case entryAs:
		target = "/as/acme" + target
	case entryHandlePath:
		target = "/hs" + target
	}
	request := requestFor
	if entry == entryHTTP2 {
		request = requestOverHTTP2
	}
	r, err := request(target)
	if err != nil {
		return nil, err
	}
	r.Method = c.method
	if entry == entryHandlePath {
		r = afterHandlePath(r, "/hs")
	}
	c.inbound, c.sent = r, target
	if err := checkBytes(target, r.URL.RawQuery); err != nil {
		return r, err
	}
	return r, c.readTarget()
}

// requestOverHTTP2 is what a server makes of a :path, which can hold bytes that
// no request line can.
func requestOverHTTP2(target string) (*http.Request, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil || !strings.HasPrefix(target, "/") {
		return nil, errNoRequest
	}
	r, err := requestFor("/")
	if err != nil {
		return nil, err
	}
	r.URL, r.RequestURI = u, target
	return r, nil
}

func requestFor(target string) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")))
	if err != nil || len(r.Header) > 0 {
		return nil, errNoRequest
	}
	return r, nil
}

// entered is what has to go up of a target, empty where that is not so plain.
func entered(entry int, target string) string {
	_, query, _ := strings.Cut(target, "?")
	switch {
	case target == "" || target[0] != '/' || entry == entryHandlePath:
		return ""
	case entry != entryAs && entry != entryEnvelope && strings.HasPrefix(target, asPrefix):
		return ""
	case entry == entryAs && strings.HasPrefix(target, "//"):
		target = target[1:] // a base URL that ends in a slash makes two of them
	}
	if mentionsDeveloperKey(query) {
		return ""
	}
	return target
}

// wireTarget is the target in the first line of the request to HubSpot.
func wireTarget(t *testing.T, c *Call, r *http.Request) string {
	t.Helper()
	var wire bytes.Buffer
	out := &http.Request{Method: r.Method, URL: c.target.url("https", "api.hubapi.com"), Host: "api.hubapi.com", Header: make(http.Header)}
	if err := out.Write(&wire); err != nil {
		t.Fatalf("%q cannot be sent: %v", c.target.path, err)
	}
	line, _, _ := strings.Cut(wire.String(), "\r\n")
	method, rest, _ := strings.Cut(line, " ")
	sent, ok := strings.CutSuffix(rest, " HTTP/1.1")
	whole := c.target.path
	if c.target.query != "" || c.target.bareQuery {
		whole += "?" + c.target.query
	}
	if !ok || sent != whole || method != r.Method {
		t.Fatalf("%s %q was judged, %q is sent", c.method, whole, line)
	}
	return sent
}

// checkModels compares our verdict, which was yes, with that on every path
// that a model comes to.
func checkModels(t *testing.T, policy modelPolicy, method, sent string) {
	t.Helper()
	for name, paths := range map[string][]string{"Go": goModel(sent), "edge": edgeModel(sent)} {
		for _, path := range paths {
			switch {
			case slices.ContainsFunc([]rune(path), unicode.IsControl), holdsLatinControl(path):
				t.Errorf("%s reads %q as %q, with a control character", name, sent, path)
			case blockedModel.MatchString(path):
				t.Errorf("%s reads %q as %q, which is blocked", name, sent, path)
			case path != "" && path[0] == '/' && !(policy.permits(method, path) && policy.permits(strings.ToUpper(method), path)):
				t.Errorf("%s reads %q as %q, which %s may not", name, sent, path, method)
			}
		}
	}
	for _, blocked := range []string{"/oauth", "/localdevauth"} {
		path, _, _ := strings.Cut(sent, "?")
		decoded, err := url.PathUnescape(path)
		if err == nil && caddyMatches(blocked, decoded) {
			t.Errorf("Caddy's matcher takes %q for %s", sent, blocked)
		}
	}
}

// holdsLatinControl reports whether a path that is no UTF-8 holds a control
// character of ISO 8859-1 where it is no continuation of a lead byte.
func holdsLatinControl(path string) bool {
	lead := 0
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 0xf0:
			lead = 3
		case c >= 0xe0:
			lead = 2
		case c >= 0xc0:
			lead = 1
		case c < utf8.RuneSelf:
			lead = 0
		case lead > 0:
			lead--
		case c < 0xa0:
			return true
		}
	}
	return false
}
