package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

// vaultTap stands between the sidecars and Vault, at an address of its own
// for each sidecar.
type vaultTap struct {
	ledger *ledger
	server *vaulttest.Server
	mount  string
	role   *vaulttest.AppRole
	policy []string
	urls   []string // by sidecar
	client *http.Client
	// hangs makes it take requests and answer nothing; delay, a
	// [time.Duration], is how long each request is held up; loses is the
	// share of writes, in per cent, that are done and not answered.
	hangs        atomic.Bool
	delay, loses atomic.Int64
}

func newVaultTap(t *testing.T, l *ledger, sidecars int) *vaultTap {
	t.Helper()
	v := &vaultTap{
		ledger: l, server: vaulttest.Start(t),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second},
	}
	v.mount = v.server.Mount(t)
	v.policy = []string{
		v.server.Policy(t, "sidecar.hcl", v.mount, "stable"),
		v.server.Policy(t, "sidecar.hcl", v.mount, "rotating"),
	}
	// Short-lived logins, so that some are renewed and some made anew.
	v.role = v.server.AppRole(t, map[string]any{
		"token_policies": v.policy, "token_ttl": "20s", "token_max_ttl": "60s",
	})
	for i := range sidecars {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.serve(w, r, i) }))
		t.Cleanup(server.Close)
		v.urls = append(v.urls, server.URL)
	}
	return v
}

func (v *vaultTap) serve(w http.ResponseWriter, r *http.Request, by int) {
	good := false
	defer func() {
		if !good {
			v.ledger.noAnswer(by)
		}
	}()
	life := v.ledger.life(by)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if v.hangs.Load() {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	time.Sleep(time.Duration(v.delay.Load()))
	arrived := time.Now()
	status, header, answer, err := v.forward(r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	isRecord := strings.HasPrefix(r.URL.Path, "/v1/"+v.mount+"/data/hubspot/connections/")
	if isRecord && status == http.StatusOK && r.Method != http.MethodGet {
		v.ledger.wrote(by, life, arrived, body)
		if rand.Int64N(100) < v.loses.Load() {
			panic(http.ErrAbortHandler)
		}
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(answer)
	arrives := http.NewResponseController(w).Flush() == nil && r.Context().Err() == nil
	good = arrives && (status < http.StatusInternalServerError && status != http.StatusForbidden)
	if isRecord && good {
		v.ledger.answered(by, life, r.Method, answer)
	}
}

// forward asks Vault. What it was asked is known to be done or not, even when
// the sidecar does not wait for the answer.
func (v *vaultTap) forward(r *http.Request, body []byte) (int, http.Header, []byte, error) {
	up, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, v.server.Address+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	up.Header = r.Header.Clone()
	resp, err := v.client.Do(up)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, answer, err
}

// record is what the test reads of a stored connection.
type record struct {
	App     string    `json:"app"`
	User    string    `json:"user"`
	Access  string    `json:"access_token"`
	Issued  time.Time `json:"issued_at"`
	Expires time.Time `json:"expires_at"`
	Claim   string    `json:"claim_id"`
}

// wrote notes a record that Vault has taken.
func (l *ledger) wrote(by, life int, at time.Time, body []byte) {
	var written struct {
		Data record `json:"data"`
	}
	if json.Unmarshal(body, &written) != nil {
		return
	}
	r := written.Data
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conns[connKey{r.App, r.User}]
	if c == nil {
		return
	}
	if _, seen := c.stored[r.Access]; !seen {
		c.stored[r.Access] = storedToken{at: at, issued: r.Issued}
	}
	if life != l.lives[by] {
		return // the process is gone
	}
	delete(c.claims, by)
	if r.Claim != "" {
		c.claims[by] = &claim{at: at, access: r.Access}
	}
}

// answered notes an answer about a record that a sidecar has received.
func (l *ledger) answered(by, life int, method string, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.storeGood[by] = append(l.storeGood[by], time.Now())
	var read struct {
		Data struct {
			Data record `json:"data"`
		} `json:"data"`
	}
	if method != http.MethodGet || json.Unmarshal(body, &read) != nil {
		return
	}
	r := read.Data.Data
	c := l.conns[connKey{r.App, r.User}]
	if c == nil || r.Access == "" {
		return
	}
	if life == l.lives[by] {
		c.learn(by, r.Expires)
	}
	if _, seen := c.stored[r.Access]; !seen {
		c.stored[r.Access] = storedToken{at: time.Now(), issued: r.Issued}
	}
}

// revokeLogins takes the logins of all sidecars away.
func (v *vaultTap) revokeLogins(t *testing.T) {
	_, reply := v.server.Do(t, v.server.RootToken, "LIST", "auth/token/accessors", nil)
	data, _ := reply["data"].(map[string]any)
	keys, _ := data["keys"].([]any)
	for _, accessor := range keys {
		_, reply := v.server.Do(t, v.server.RootToken, http.MethodPut, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		token, _ := reply["data"].(map[string]any)
		if path, _ := token["path"].(string); strings.HasSuffix(path, "/login") {
			v.server.Do(t, v.server.RootToken, http.MethodPut, "auth/token/revoke-accessor", map[string]any{"accessor": accessor})
		}
	}
}

// withoutPolicy runs f while the sidecars' login is good for nothing.
func (v *vaultTap) withoutPolicy(t *testing.T, f func()) {
	texts := make(map[string]any)
	for _, name := range v.policy {
		texts[name] = v.server.Read(t, "sys/policies/acl/"+name)["policy"]
		v.server.Delete(t, "sys/policies/acl/"+name)
	}
	f()
	for name, text := range texts {
		v.server.Write(t, "sys/policies/acl/"+name, map[string]any{"policy": text})
	}
}
