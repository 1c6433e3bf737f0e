package vaultstore_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// proxy stands between store and Vault and can behave badly.
type proxy struct {
	*httptest.Server
	drop     atomic.Value // string: the method whose answers get lost
	requests atomic.Int64
	override atomic.Value // http.HandlerFunc, may be nil
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := new(proxy)
	p.dropAnswers("")
	p.answerWith(nil)
	forward := httputil.NewSingleHostReverseProxy(u)
	forward.ModifyResponse = func(resp *http.Response) error {
		if resp.Request.Method == p.drop.Load() {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		if handler := p.override.Load().(http.HandlerFunc); handler != nil {
			handler(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) dropAnswers(method string) { p.drop.Store(method) }

// answerWith answers instead of Vault; nil goes back to forwarding.
func (p *proxy) answerWith(handler http.HandlerFunc) { p.override.Store(handler) }
