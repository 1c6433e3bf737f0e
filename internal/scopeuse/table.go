package scopeuse

import (
	"maps"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
)

// Values of [Row.Configured].
const (
	Required    = "required"
	Conditional = "conditional"
	Optional    = "optional"
	NotAsked    = "no"
)

// Row is what operators are shown of a scope.
type Row struct {
	Scope string `json:"scope"`
	// Configured says in which list of the app's settings it is.
	Configured string `json:"configured"`
	// Granted counts connections.
	Granted int     `json:"granted"`
	Missing Missing `json:"missing"`
	// LastNeeded is nil if it was not needed since the learning began.
	LastNeeded *time.Time `json:"lastNeeded"`
}

// Missing is about calls that were refused for want of a scope. It is empty if
// each connection that they were for has the scope by now.
type Missing struct {
	// Connections counts those that still lack it; with More there may be
	// others.
	Connections int      `json:"connections"`
	More        bool     `json:"more,omitempty"`
	Endpoints   []string `json:"endpoints"`
	// OneOf are other scopes that would do instead.
	OneOf []string `json:"oneOf,omitempty"`
}

// Table puts together what is known of an app's scopes, what its settings name
// and what its connections have granted. Make one with [NewTable], count the
// connections, and take the rows. It is not safe for concurrent use.
type Table struct {
	report     Report
	configured map[string]string
	order      []string
	granted    map[string]int
	// refused are by tag what a connection has lacked, as indexes of the
	// report's refusals.
	refused map[string][]int
	// lacking are the tags of connections that still lack a scope.
	lacking map[string]map[string]bool
	// open has the refusals that are so for a connection still.
	open map[int]bool
}

// NewTable makes a table without connections.
func NewTable(r Report, settings appconfig.Scopes) *Table {
	t := &Table{
		report: r, configured: make(map[string]string), granted: make(map[string]int),
		refused: make(map[string][]int), lacking: make(map[string]map[string]bool), open: make(map[int]bool),
	}
	for _, list := range []struct {
		name   string
		scopes []string
	}{{Required, settings.Required}, {Conditional, settings.Conditional}, {Optional, settings.Optional}} {
		for _, scope := range list.scopes {
			t.configured[scope] = list.name
			t.order = append(t.order, scope)
		}
	}
	for i, refusal := range r.Refusals {
		for _, tag := range refusal.Tags {
			t.refused[tag] = append(t.refused[tag], i)
		}
	}
	return t
}

// NeedsTags reports whether the tags of connections are needed to count them.
func (t *Table) NeedsTags() bool { return len(t.refused) > 0 }

// Count counts a connection.
func (t *Table) Count(tag string, granted []string) {
	for _, scope := range granted {
		t.granted[scope]++
	}
	for _, i := range t.refused[tag] {
		scopes := t.report.Refusals[i].Scopes
		if _, ok := satisfied(scopes, granted); ok {
			continue
		}
		t.open[i] = true
		for _, scope := range scopes {
			if t.lacking[scope] == nil {
				t.lacking[scope] = make(map[string]bool)
			}
			t.lacking[scope][tag] = true
		}
	}
}

// Rows returns the rows: first the configured scopes in their order, then those
// that are missing, then others that were granted or needed.
func (t *Table) Rows() []Row {
	names := slices.Clone(t.order)
	add := func(scopes []string) {
		slices.Sort(scopes)
		for _, scope := range scopes {
			if !slices.Contains(names, scope) {
				names = append(names, scope)
			}
		}
	}
	add(slices.Collect(maps.Keys(t.lacking)))
	add(slices.Concat(slices.Collect(maps.Keys(t.granted)), slices.Collect(maps.Keys(t.report.Needed))))
	rows := make([]Row, 0, len(names))
	for _, scope := range names {
		rows = append(rows, t.row(scope))
	}
	return rows
}

func (t *Table) row(scope string) Row {
	row := Row{
		Scope: scope, Configured: t.configured[scope], Granted: t.granted[scope],
		Missing: Missing{Connections: len(t.lacking[scope]), Endpoints: []string{}},
	}
	if row.Configured == "" {
		row.Configured = NotAsked
	}
	if at, ok := t.report.Needed[scope]; ok {
		at = at.UTC()
		row.LastNeeded = &at
	}
	for i, refusal := range t.report.Refusals {
		if !t.open[i] || !slices.Contains(refusal.Scopes, scope) {
			continue
		}
		row.Missing.More = row.Missing.More || refusal.More
		row.Missing.Endpoints = append(row.Missing.Endpoints, refusal.Endpoints...)
		for _, other := range refusal.Scopes {
			if other != scope {
				row.Missing.OneOf = append(row.Missing.OneOf, other)
			}
		}
	}
	slices.Sort(row.Missing.Endpoints)
	row.Missing.Endpoints = slices.Compact(row.Missing.Endpoints)
	slices.Sort(row.Missing.OneOf)
	row.Missing.OneOf = slices.Compact(row.Missing.OneOf)
	return row
}
