package chaos_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// story tells what happened to a connection, for whoever has to find out what
// went wrong.
func (l *ledger) story(c *conn) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	type event struct {
		at   time.Time
		text string
	}
	var events []event
	say := func(at time.Time, format string, args ...any) {
		events = append(events, event{at, fmt.Sprintf(format, args...)})
	}
	for _, f := range l.faults {
		if f.kind == endpoint && !strings.HasPrefix(f.detail, c.app) {
			continue
		}
		who := ""
		if f.sidecar >= 0 {
			who = fmt.Sprintf("sidecar %d ", f.sidecar)
		}
		say(f.start, "%s%s %s", who, f.kind, f.detail)
		if !f.end.IsZero() {
			say(f.end, "%s%s %s: over", who, f.kind, f.detail)
		}
	}
	for i, a := range c.history {
		a.tell(i, say)
		if stored, ok := c.stored[a.access]; ok && a.access != "" {
			say(stored.at, "token %d is in Vault", i)
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s  %s\n", e.at.Format("15:04:05.000"), e.text)
	}
	return b.String()
}

func (a *attempt) tell(number int, say func(at time.Time, format string, args ...any)) {
	if a.install {
		say(a.answered, "installed through sidecar %d: token %d", a.by, number)
		return
	}
	if a.claim == nil {
		say(a.arrived, "sidecar %d asks without a claim", a.by)
	} else {
		say(a.claim.at, "sidecar %d claims, to replace token %d", a.by, a.conn.number(a.claim.access))
		say(a.arrived, "sidecar %d asks", a.by)
	}
	what := "gives no token"
	switch {
	case a.issued:
		what = fmt.Sprintf("gives token %d", number)
	case a.refused:
		what = "calls the grant dead"
	}
	if !a.delivered {
		what += ", and the answer does not arrive"
	}
	say(a.answered, "HubSpot %s to sidecar %d", what, a.by)
}

// number is the place of an access token in the history; -1 if it has none.
func (c *conn) number(access string) int {
	return slices.IndexFunc(c.history, func(a *attempt) bool { return a.access == access })
}
