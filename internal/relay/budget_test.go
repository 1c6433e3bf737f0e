package relay_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// A batch of 90 contacts is larger than it looks, and outlives a burst that
// HubSpot refuses.
func TestBatchOutlivesABurst(t *testing.T) {
	t.Parallel()
	batch := `{"inputs":[` + strings.Repeat(`{"properties":{"note":"`+strings.Repeat("x", 930)+`"}},`, 89) + `{}]}`
	if len(batch) < 80_000 || len(batch) > 100_000 {
		t.Fatalf("the batch is of %d bytes", len(batch))
	}
	for _, budget := range []int64{relay.DefaultBudget, 50_000} {
		var asked atomic.Int64
		upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
			if err := more(); err != nil {
				return err
			}
			answer := jsonAnswer(429, `{"errorType":"RATE_LIMIT","policyName":"TEN_SECONDLY_ROLLING"}`, "Retry-After-Ms: 50")
			if asked.Add(1) > 1 {
				answer = jsonAnswer(200, fmt.Sprint(len(m.body)))
			}
			_, err := io.WriteString(w, answer)
			return err
		})
		h := startProxy(t, upstream.url(), func(c *relay.Config) { c.Budget = relay.NewBudget(budget) })
		got := h.Do("POST", "/crm/objects/2026-09/contacts/batch/create", strings.NewReader(batch), "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme")
		if budget < int64(len(batch)) {
			// Without room for it, HubSpot's own answer passes.
			if got.StatusCode != 429 || strings.Contains(got.Text, "SIDECAR") {
				t.Errorf("without the budget: %s %s", got.Status, got.Text)
			}
			continue
		}
		if got.StatusCode != 200 || got.Text != fmt.Sprint(len(batch)) {
			t.Errorf("%s %s", got.Status, got.Text)
		}
	}
}

// Envelopes beyond the budget are refused, and what they took is given back.
func TestEnvelopesAreBudgeted(t *testing.T) {
	t.Parallel()
	arrived, goOn := make(chan bool, 1), make(chan bool)
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if strings.Contains(m.start, "/slow ") {
			arrived <- true
			<-goOn
		}
		return plainAnswer(w, m, more)
	})
	h := startProxy(t, upstream.url(), func(c *relay.Config) { c.Budget = relay.NewBudget(100_000) })
	envelope := func(url string, size int) string {
		return form("method", "POST", "url", url, "userForeignIdentifier", "acme", "body", `"`+strings.Repeat("x", size)+`"`)
	}
	tooBusy := func(when string, got answer) {
		t.Helper()
		e := wantOwnError(t, got, 503, "too_busy")
		if got.Header.Get("Retry-After") == "" || !strings.Contains(e.Message, "without an envelope") {
			t.Errorf("%s: Retry-After %q, %s", when, got.Header.Get("Retry-After"), e.Message)
		}
	}
	tooBusy("too large alone", h.post(formType, envelope("/crm/x", 100_000)))
	done := make(chan answer, 1)
	go func() { done <- h.post(formType, envelope("/slow", 60_000)) }()
	<-arrived
	tooBusy("too large beside another", h.post(formType, envelope("/crm/x", 60_000)))
	if got := h.post(formType, envelope("/crm/x", 5_000)); got.StatusCode != 200 {
		t.Errorf("small enough beside another: %s %s", got.Status, got.Text)
	}
	close(goOn)
	if got := <-done; got.StatusCode != 200 {
		t.Errorf("the first: %s %s", got.Status, got.Text)
	}
	for range 5 {
		h.WaitFor("the budget to be there again", func() bool { return h.post(formType, envelope("/crm/x", 60_000)).StatusCode == 200 })
	}
	// A transparent call needs no budget.
	h.use(func(c *relay.Config) { c.Budget = relay.NewBudget(0) })
	if got := h.Do("POST", "/crm/x", strings.NewReader("{}"), "Authorization", "Bearer "+testCallerKey, "X-HubSpot-User", "acme"); got.StatusCode != 200 {
		t.Errorf("without any budget: %s %s", got.Status, got.Text)
	}
}

// What one holds with envelopes that do not end leaves room for others.
func TestBudgetIsNotOnesAlone(t *testing.T) {
	t.Parallel()
	const otherKey = "another-key-of-the-caller-0123"
	h, _ := startTokens(t)
	h.desk(func(c *admission.Config) {
		var callers []*access.Caller
		for name, key := range map[string]string{"tester": testCallerKey, "other": otherKey} {
			caller, err := access.NewCaller(access.CallerConfig{Name: name, Keys: []secret.Text{secret.New(key)}})
			if err != nil {
				t.Fatal(err)
			}
			callers = append(callers, caller)
		}
		registry, err := access.NewRegistry(callers)
		if err != nil {
			t.Fatal(err)
		}
		c.Callers = registry
	})
	h.use(func(c *relay.Config) { c.Budget = relay.NewBudget(100_000) })
	envelope := func(size int) string {
		return form("method", "POST", "url", "/crm/x", "userForeignIdentifier", "acme", "body", `"`+strings.Repeat("x", size)+`"`)
	}
	// send returns when the call has given back what it took.
	send := func(bearer string, body io.Reader) int {
		r := httptest.NewRequest("POST", testBase+"/raw/hbdev", io.NopCloser(body))
		r.Header.Set("Authorization", "Bearer "+bearer)
		r.Header.Set("Content-Type", formType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	goOn := make(chan bool)
	var ended sync.WaitGroup
	stall := func(bearer string, size int) {
		waits := make(chan bool)
		ended.Go(func() {
			send(bearer, io.MultiReader(strings.NewReader(envelope(size)), readerFunc(func([]byte) (int, error) {
				close(waits)
				<-goOn
				return 0, io.EOF
			})))
		})
		<-waits
	}
	check := func(who, bearer string, size, want int) {
		t.Helper()
		if got := send(bearer, strings.NewReader(envelope(size))); got != want {
			t.Errorf("%s: %d, want %d", who, got, want)
		}
	}
	token := h.IssueToken("acme")
	stall(token, 40_000)
	check("the token", token, 15_000, 503)
	check("the token's caller", testCallerKey, 15_000, 200)
	stall(testCallerKey, 35_000)
	check("the caller", testCallerKey, 10_000, 503)
	check("another token of the caller", h.IssueToken("acme"), 10_000, 503)
	check("another caller", otherKey, 10_000, 200)
	close(goOn)
	ended.Wait()
	check("the token afterwards", token, 45_000, 200)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
