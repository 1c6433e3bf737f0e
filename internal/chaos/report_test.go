package chaos_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the table, and what fails the test.
type report struct {
	requests, hangUps, reconnects int
	failed                        map[string]int
	expected, seen                map[string]int           // by app
	duplicates, lost              map[string]int           // by app and cause
	longest                       map[string]time.Duration // by answer
	longestAny, healed            time.Duration
	concurrent                    map[string]int64
	faults                        map[string]int
	problems                      []string
	// suspects are the connections with a problem.
	suspects map[*conn]bool
}

// newReport judges everything that happened since from.
func newReport(l *ledger, h *hubspot, d *load, from time.Time) *report {
	r := &report{
		failed: make(map[string]int), expected: make(map[string]int), seen: make(map[string]int),
		duplicates: make(map[string]int), lost: make(map[string]int),
		concurrent: make(map[string]int64), faults: make(map[string]int), suspects: make(map[*conn]bool),
	}
	for _, c := range l.all() {
		r.addConn(c, l.judge(c, from))
		if counted := h.app(c.app).refreshes(c.hub); counted != c.issued {
			r.problem("%s: HubSpot has refreshed %d times, and %d were seen: the figures are wrong", c.user, counted, c.issued)
		}
	}
	r.addLoad(d, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.faults {
		if f.start.After(from) {
			r.faults[strings.TrimSuffix(string(f.kind)+": "+faultName(f), ": ")]++
		}
	}
	for _, app := range h.apps {
		for _, g := range app.sandbox.Stats().Grants {
			r.concurrent[app.name] = max(r.concurrent[app.name], g.MaxConcurrentRefreshes)
		}
	}
	return r
}

// faultName leaves out how long a stop took.
func faultName(f *fault) string {
	if f.kind != paused {
		return f.detail
	}
	if d, err := time.ParseDuration(f.detail); err == nil && d <= shortestStep {
		return "shorter than the protocol assumes"
	}
	return "longer than the protocol assumes"
}

func (r *report) addConn(c *conn, v verdict) {
	r.expected[c.app] += v.expected
	r.seen[c.app] += v.seen
	for cause, n := range v.duplicates {
		r.duplicates[c.app+": "+cause] += n
		if cause == causeNone {
			r.suspects[c] = true
			r.problem("%s was refreshed %d times too often, and nothing explains it", c.user, n)
		}
	}
	for _, cause := range v.lost {
		r.lost[c.app+": "+cause]++
		if cause == causeNone || !c.rotating {
			r.suspects[c] = true
			r.problem("%s was lost: %s", c.user, cause)
		}
	}
}

func (r *report) addLoad(d *load, from time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r.requests, r.hangUps, r.reconnects = d.requests, d.hangUps, d.reconnects
	r.longest, r.longestAny, r.healed = maps.Clone(d.longest), d.longestAny, d.healed
	for _, f := range d.failures {
		if f.start.Before(from) {
			continue
		}
		r.failed[f.reason]++
		if f.unexplained {
			r.suspects[f.conn] = true
			r.problem("%s failed through sidecar %d at %s: %s", f.conn.user, f.sidecar, f.start.Format("15:04:05.000"), f.reason)
		}
	}
}

func (r *report) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// String is the table.
func (r *report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	rows := func(name string, counts map[string]int) {
		total := 0
		for _, n := range counts {
			total += n
		}
		line(name, total)
		for _, key := range slices.Sorted(maps.Keys(counts)) {
			line("    "+key, counts[key])
		}
	}
	rows("faults", r.faults)
	line("requests", r.requests)
	line("    and clients that hung up", r.hangUps)
	rows("failed requests", r.failed)
	rows("refreshes expected", r.expected)
	rows("refreshes seen", r.seen)
	rows("duplicate refreshes", r.duplicates)
	for _, app := range slices.Sorted(maps.Keys(r.concurrent)) {
		line("most refreshes of one grant at a time, "+app, r.concurrent[app])
	}
	rows("lost connections", r.lost)
	line("reconnects", r.reconnects)
	line("    longest until all sidecars knew", r.healed.Round(time.Millisecond))
	line("longest wait", "")
	for _, answer := range slices.Sorted(maps.Keys(r.longest)) {
		line("    for "+answer, r.longest[answer].Round(time.Millisecond))
	}
	line("    of a request to a sidecar killed, stopped or restarted meanwhile", r.longestAny.Round(time.Millisecond))
	_ = w.Flush()
	return b.String()
}
