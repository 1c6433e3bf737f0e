package relay_test

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
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
