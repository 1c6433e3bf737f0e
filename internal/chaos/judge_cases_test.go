package chaos_test

import (
	"testing"
	"time"
)

// history builds the ledger of one connection, with times in seconds.
type history struct {
	*ledger
	conn *conn
	zero time.Time
}

func newHistory(rotating bool) *history {
	h := &history{ledger: newLedger(), zero: time.Now()}
	h.conn = h.add(connKey{"app", "user"}, 1, 24*time.Second, rotating)
	h.conn.history = []*attempt{{conn: h.conn, install: true, issued: true, access: "token 0", delivered: true, arrived: h.at(0), answered: h.at(0)}}
	h.write("token 0", 0)
	return h
}

func (h *history) at(seconds float64) time.Time {
	return h.zero.Add(time.Duration(seconds * float64(time.Second)))
}

func (h *history) write(access string, seconds float64) {
	h.conn.stored[access] = storedToken{at: h.at(seconds), issued: h.at(seconds)}
}

// refresh adds one by sidecar that claims at the time given, to replace a
// token, and asks a tenth of a second later. No access means refused.
func (h *history) refresh(sidecar int, seconds float64, replaces, access string) *attempt {
	a := &attempt{
		conn: h.conn, by: sidecar, claim: &claim{at: h.at(seconds), access: replaces}, delivered: true,
		arrived: h.at(seconds + 0.1), answered: h.at(seconds + 0.1),
		issued: access != "", refused: access == "", access: access,
	}
	h.conn.history = append(h.conn.history, a)
	return a
}

func (h *history) fault(kind faultKind, sidecar int, from, to float64) {
	h.faults = append(h.faults, &fault{kind: kind, sidecar: sidecar, start: h.at(from), end: h.at(to)})
}

// TestJudge holds that the judge counts, and excuses nothing without a cause.
func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name      string
		rotating  bool
		happens   func(h *history)
		expected  int
		duplicate string
		lost      string
	}{
		{name: "two refreshes in time", expected: 2, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.write("token 1", 13)
			h.refresh(1, 27, "token 1", "token 2")
		}},
		{name: "a fresh token replaced", expected: 1, duplicate: causeNone, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.write("token 1", 13.2)
			h.refresh(1, 15, "token 1", "token 2")
		}},
		{name: "an old token replaced although the new one was stored", expected: 1, duplicate: causeNone, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.write("token 1", 13.2)
			h.fault(killed, 0, 13.1, 14)
			h.refresh(1, 15, "token 0", "token 2")
		}},
		{name: "two at a time", expected: 1, duplicate: causeNone, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.refresh(1, 13.05, "token 0", "token 2")
		}},
		{name: "killed before the write", expected: 1, duplicate: causeKilled, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.fault(killed, 0, 13.15, 14)
			h.refresh(1, 21.5, "token 0", "token 2")
		}},
		{name: "another sidecar killed", expected: 1, duplicate: causeNone, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.fault(killed, 2, 13.15, 14)
			h.refresh(1, 21.5, "token 0", "token 2")
		}},
		{name: "stopped for longer than the timeout", rotating: true, expected: 1, lost: causePaused, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.fault(paused, 0, 13, 19)
			h.refresh(1, 21.5, "token 0", "")
		}},
		{name: "stopped for less", rotating: true, expected: 1, lost: causeNone, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.fault(paused, 0, 13, 13.5)
			h.refresh(1, 21.5, "token 0", "")
		}},
		{name: "answer not delivered", expected: 1, duplicate: causeLate, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1").delivered = false
			h.refresh(1, 16, "token 0", "token 2")
		}},
		{name: "without a claim and without a reason", expected: 1, duplicate: causeNone, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.refresh(1, 16, "token 0", "token 2").claim = nil
		}},
		{name: "without a claim while Vault is away", expected: 1, duplicate: causeNoClaim, happens: func(h *history) {
			h.fault(vaultGone, -1, 10, 30)
			h.refresh(0, 13, "token 0", "token 1").claim = nil
			h.refresh(1, 16, "token 0", "token 2").claim = nil
		}},
		{name: "without a claim between another's claim and its call", expected: 1, duplicate: causeNoClaim, happens: func(h *history) {
			h.fault(vaultGone, -1, 10, 12.9)
			h.refresh(1, 13.05, "token 0", "token 1").claim = nil
			h.refresh(0, 13, "token 0", "token 2").arrived = h.at(13.3)
		}},
		{name: "without a claim after a long stop", expected: 1, duplicate: causeWoke, happens: func(h *history) {
			h.refresh(0, 13, "token 0", "token 1")
			h.write("token 1", 13.2)
			h.fault(paused, 1, 12, 17)
			h.refresh(1, 17.1, "token 0", "token 2").claim = nil
		}},
		{name: "tokens from an outage written over a claim", expected: 2, duplicate: causeOvertaken, happens: func(h *history) {
			h.refresh(2, 13, "token 0", "token 1").claim = nil
			h.refresh(0, 26, "token 0", "token 2")
			h.conn.stored["token 1"] = storedToken{at: h.at(26.05), issued: h.at(13)}
			h.refresh(1, 26.12, "token 1", "token 3")
		}},
		{name: "the same with rotating tokens", rotating: true, expected: 1, duplicate: causeNone, happens: func(h *history) {
			h.fault(vaultGone, -1, 10, 30)
			h.refresh(0, 13, "token 0", "token 1").claim = nil
			h.refresh(1, 16, "token 0", "token 2").claim = nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHistory(tc.rotating)
			tc.happens(h)
			got := h.judge(h.conn, time.Time{})
			if got.expected != tc.expected {
				t.Errorf("expected refreshes = %d; want %d", got.expected, tc.expected)
			}
			if tc.duplicate == "" && len(got.duplicates) > 0 || tc.duplicate != "" && got.duplicates[tc.duplicate] != 1 {
				t.Errorf("duplicates = %v; want one with the cause %q", got.duplicates, tc.duplicate)
			}
			if tc.lost == "" && len(got.lost) > 0 || tc.lost != "" && (len(got.lost) != 1 || got.lost[0] != tc.lost) {
				t.Errorf("lost = %q; want %q", got.lost, tc.lost)
			}
		})
	}
}
