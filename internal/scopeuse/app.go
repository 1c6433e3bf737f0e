package scopeuse

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

const (
	// maxServed is how many endpoints are remembered with what they need.
	maxServed = 1024
	// usedEvery is the least time between two notes of a scope in seconds.
	usedEvery = 60
)

// App learns for one app. A nil App learns nothing. It is safe for concurrent
// use.
type App struct {
	keeper *Keeper
	// begun is when this process began to learn, in seconds since 1970.
	begun int64
	// served are endpoints that HubSpot has served, by their names. The map is
	// never changed.
	served atomic.Pointer[map[string]*endpoint]

	mu    sync.Mutex // guards what follows, and the changing of served
	known knowledge
	uses  map[string]*use
}

// endpoint has what a call needs: of each list of scopes one, the first that is
// granted.
type endpoint struct{ needs [][]*use }

// use is the use of a scope.
type use struct {
	scope string
	// last is when the scope was last needed, in seconds since 1970; 0 for
	// never.
	last atomic.Int64
}

// Served learns from a call that HubSpot has served for a connection with the
// granted scopes. path is as it went to HubSpot. Where there is nothing new it
// takes no lock and no memory.
func (a *App) Served(method, path string, granted []string) {
	if a == nil {
		return
	}
	var buffer [256]byte
	name := appendName(buffer[:0], method, path)
	e, ok := (*a.served.Load())[string(name)]
	if !ok {
		e = a.remember(string(name))
	}
	for _, scopes := range e.needs {
		for _, u := range scopes {
			if slices.Contains(granted, u.scope) {
				a.used(u)
				break
			}
		}
	}
}

// used notes that a scope was needed.
func (a *App) used(u *use) {
	now, last := time.Now().Unix(), u.last.Load()
	if now-last < usedEvery {
		return
	}
	u.last.Store(now)
	switch {
	case last == 0:
		a.keeper.poke()
	case hourOf(last) != hourOf(now):
		a.keeper.dirty.Store(true)
	}
}

// appendName appends the name of an endpoint.
func appendName(b []byte, method, path string) []byte {
	b = append(b, audit.Method(method)...)
	b = append(b, ' ')
	return audit.AppendTemplate(b, path)
}

// remember finds out what an endpoint needs.
func (a *App) remember(name string) *endpoint {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := &endpoint{}
	for _, scopes := range a.needsOf(name) {
		var uses []*use
		for _, scope := range scopes {
			uses = append(uses, a.useOf(scope))
		}
		e.needs = append(e.needs, uses)
	}
	served := *a.served.Load()
	if len(served) >= maxServed {
		a.forgetServed()
		served = nil
	}
	next := make(map[string]*endpoint, len(served)+1)
	maps.Copy(next, served)
	next[name] = e
	a.served.Store(&next)
	return e
}

// forgetServed has all endpoints be found anew. The caller holds mu.
func (a *App) forgetServed() {
	a.served.Store(new(map[string]*endpoint))
	maps.DeleteFunc(a.uses, func(_ string, u *use) bool { return u.last.Load() == 0 })
}

// needsOf is what an endpoint needs, as HubSpot has said, and otherwise by the
// names that scopes mostly have. The caller holds mu.
func (a *App) needsOf(name string) [][]string {
	clauses := a.known.Endpoints[name]
	if len(clauses) == 0 {
		method, template, _ := strings.Cut(name, " ")
		return hubspot.NamedScopes(method, template)
	}
	needs := make([][]string, 0, len(clauses))
	for _, c := range slices.Sorted(maps.Keys(clauses)) {
		needs = append(needs, preferred(c, name))
	}
	return needs
}

// preferred are the scopes of a clause, first those by whose name the endpoint
// goes.
func preferred(c clause, endpoint string) []string {
	scopes := c.scopes()
	if len(scopes) == 1 {
		return scopes
	}
	method, template, _ := strings.Cut(endpoint, " ")
	named := slices.Concat(hubspot.NamedScopes(method, template)...)
	slices.SortStableFunc(scopes, func(one, other string) int {
		return rank(named, one) - rank(named, other)
	})
	return scopes
}

func rank(names []string, name string) int {
	if i := slices.Index(names, name); i >= 0 {
		return i
	}
	return len(names)
}

// useOf is the use of a scope. The caller holds mu.
func (a *App) useOf(scope string) *use {
	u := a.uses[scope]
	if u == nil {
		u = &use{scope: scope}
		u.last.Store(a.known.Needed[scope].unix())
		a.uses[scope] = u
	}
	return u
}

// Refused learns from a call that HubSpot has refused for want of scopes. tag
// stands for the connection; one that is no tag is left out.
func (a *App) Refused(method, path string, granted []string, tag string, needs []hubspot.ScopeNeed) {
	clauses := clausesOf(needs)
	if a == nil || len(clauses) == 0 {
		return
	}
	name := string(appendName(nil, method, path))
	if len(name) > maxEndpoint {
		return
	}
	for _, u := range a.refused(name, clauses, granted, tag) {
		a.used(u)
	}
}

// refused notes a refusal and returns the uses of the scopes that were needed.
func (a *App) refused(name string, clauses []clause, granted []string, tag string) []*use {
	a.mu.Lock()
	defer a.mu.Unlock()
	today, isNew := dayOf(time.Now()), false
	needed := make([]string, 0, len(clauses))
	for _, c := range clauses {
		isNew = note(&a.known.Endpoints, name, c, today) || isNew
		scopes := preferred(c, name)
		scope, ok := satisfied(scopes, granted)
		if !ok {
			scope = scopes[0]
			isNew = tagName.MatchString(tag) && note(&a.known.Refused, c, tag, today) || isNew
		}
		needed = append(needed, scope)
	}
	if isNew {
		a.known.bound(1)
		a.forgetServed()
		a.keeper.poke()
	}
	uses := make([]*use, 0, len(needed))
	for _, scope := range needed {
		uses = append(uses, a.useOf(scope))
	}
	return uses
}

// exchange takes over what others know, and returns all that is known.
func (a *App) exchange(others knowledge, now time.Time) knowledge {
	a.mu.Lock()
	defer a.mu.Unlock()
	endpoints := countAll(a.known.Endpoints)
	a.known.merge(others)
	for scope, u := range a.uses {
		if last := u.last.Load(); last != 0 {
			mergeLatest(&a.known.Needed, map[string]hour{scope: hourOf(last)})
		} else if at := a.known.Needed[scope]; at != 0 {
			u.last.CompareAndSwap(0, at.unix())
		}
	}
	if !a.known.isEmpty() {
		own := knowledge{Since: a.begun, Seen: dayOf(now)}
		own.tidy(now)
		a.known.merge(own)
	}
	a.known.tidy(now)
	a.known.bound(1)
	if countAll(a.known.Endpoints) != endpoints {
		a.forgetServed()
	}
	return a.known.clone()
}

func countAll[K, E ~string](sets map[K]map[E]day) int {
	n := 0
	for _, set := range sets {
		n += len(set)
	}
	return n
}
