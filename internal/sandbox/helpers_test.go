package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

const (
	redirectURI = "http://localhost:3000/callback"
	demoScopes  = "oauth crm.objects.contacts.read"
	allOptional = "crm.objects.contacts.write crm.objects.companies.read crm.objects.companies.write crm.objects.deals.read crm.objects.deals.write"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a sandbox behind a real server, and a client that follows no
// redirects.
type rig struct {
	t      *testing.T
	box    *sandbox.Sandbox
	url    string
	clock  *clock
	client *http.Client
}

func newRig(t *testing.T, change func(*sandbox.Options)) *rig {
	t.Helper()
	r := &rig{t: t, clock: newClock()}
	opts := sandbox.Options{Now: r.clock.Now}
	if change != nil {
		change(&opts)
	}
	box, err := sandbox.New(opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	srv := httptest.NewServer(box)
	t.Cleanup(srv.Close)
	r.box, r.url = box, srv.URL
	r.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(r.client.CloseIdleConnections)
	return r
}

// answer is a response that has been read.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

func (r *rig) do(method, path, body string, header ...string) answer {
	r.t.Helper()
	a, err := r.try(method, path, body, header...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try is do for requests whose connection may break.
func (r *rig) try(method, path, body string, header ...string) (answer, error) {
	return r.send(r.request(r.t.Context(), method, path, body, header...))
}

func (r *rig) request(ctx context.Context, method, path, body string, header ...string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Error(err)
		return nil
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (r *rig) send(req *http.Request) (answer, error) {
	resp, err := r.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{r.t, resp.StatusCode, resp.Header, string(raw)}, err
}

// want checks the status and returns the answer.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d; body: %s", a.status, status, a.body)
	}
	return a
}

// has checks that the body contains each text.
func (a answer) has(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Fatalf("body lacks %q: %s", text, a.body)
		}
	}
	return a
}

// json decodes the body into an object.
func (a answer) json() map[string]any {
	a.t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		a.t.Fatalf("body is not a JSON object: %v: %s", err, a.body)
	}
	return out
}

// at returns a value inside the JSON body: "results.0.id".
func (a answer) at(path string) any {
	a.t.Helper()
	var v any = a.json()
	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func authorizePath(extra ...string) string {
	q := url.Values{
		"client_id": {sandbox.DemoClientID}, "redirect_uri": {redirectURI}, "scope": {demoScopes}, "state": {"st ate&1"},
	}
	for i := 0; i+1 < len(extra); i += 2 {
		if extra[i+1] == "-" {
			q.Del(extra[i])
			continue
		}
		q.Set(extra[i], extra[i+1])
	}
	return "/oauth/authorize?" + q.Encode()
}

// code consents by script and returns the code.
func (r *rig) code(extra ...string) string {
	r.t.Helper()
	extra = append([]string{"_sandbox_approve", hub(sandbox.DemoHubID), "optional_scope", allOptional}, extra...)
	a := r.do("GET", authorizePath(extra...), "").want(http.StatusFound)
	return location(r.t, a).Query().Get("code")
}

func hub(id int64) string { return strconv.FormatInt(id, 10) }

func location(t *testing.T, a answer) *url.URL {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const form = "application/x-www-form-urlencoded"

// post sends a form with the demo app's credentials; extra overrides, and "-"
// leaves a field out.
func (r *rig) post(path string, extra ...string) answer {
	r.t.Helper()
	return r.do("POST", path, formBody(extra...), "Content-Type", form)
}

func formBody(extra ...string) string {
	q := url.Values{"client_id": {sandbox.DemoClientID}, "client_secret": {sandbox.DemoClientSecret}}
	for i := 0; i+1 < len(extra); i += 2 {
		if extra[i+1] == "-" {
			q.Del(extra[i])
			continue
		}
		q.Set(extra[i], extra[i+1])
	}
	return q.Encode()
}

const tokenPath = "/oauth/2026-09/token"

type tokens struct{ access, refresh string }

// connect installs the demo app and exchanges the code.
func (r *rig) connect(extra ...string) tokens {
	r.t.Helper()
	return r.exchange(r.code(extra...))
}

func (r *rig) exchange(code string, extra ...string) tokens {
	r.t.Helper()
	fields := append([]string{"grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI}, extra...)
	a := r.post(tokenPath, fields...).want(http.StatusOK)
	return tokens{a.at("access_token").(string), a.at("refresh_token").(string)}
}

func (r *rig) refresh(token string) answer {
	r.t.Helper()
	return r.post(tokenPath, "grant_type", "refresh_token", "refresh_token", token)
}

// api calls with a bearer token and, if there is a body, as JSON.
func (r *rig) api(method, path, token, body string) answer {
	r.t.Helper()
	header := []string{"Authorization", "Bearer " + token}
	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}
	return r.do(method, path, body, header...)
}

func (r *rig) fault(body string) answer {
	r.t.Helper()
	return r.do("POST", "/_sandbox/faults", body).want(http.StatusOK)
}
