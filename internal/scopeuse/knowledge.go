package scopeuse

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// Bounds of what is known of one app. HubSpot's answers name the scopes, and
// callers choose the endpoints.
const (
	maxEndpoints = 512  // with a clause
	maxClauses   = 4    // of an endpoint
	maxRefused   = 1000 // of a connection, for want of a clause
	maxTags      = 100  // of a clause
	maxNeeded    = 256
	maxEndpoint  = 512 // bytes
	maxClause    = 256 // bytes
)

// scopeName is the grammar of the scopes that are learnt. HubSpot's are so.
var scopeName = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,96}$`)

// tagName is that of the tags of connections.
var tagName = regexp.MustCompile(`^[0-9a-f]{8,32}$`)

// clause is a set of scopes of which a call needs one, sorted and with | between
// them. A call needs one of each of its clauses.
type clause string

func (c clause) scopes() []string { return strings.Split(string(c), "|") }

// satisfied returns the first scope of some that is granted.
func satisfied(scopes, granted []string) (scope string, ok bool) {
	i := slices.IndexFunc(scopes, func(scope string) bool { return slices.Contains(granted, scope) })
	if i < 0 {
		return "", false
	}
	return scopes[i], true
}

// clausesOf makes clauses of what HubSpot has named, as far as it can be kept.
func clausesOf(needs []hubspot.ScopeNeed) []clause {
	var all []clause
	add := func(scopes ...string) {
		if len(all) == maxClauses {
			return // an answer may name thousands
		}
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !scopeName.MatchString(scope) })
		slices.Sort(scopes)
		scopes = slices.Compact(scopes)
		c := clause(strings.Join(scopes, "|"))
		if c != "" && len(c) <= maxClause && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	for _, need := range needs {
		if !need.All {
			add(need.Scopes...)
			continue
		}
		for _, scope := range need.Scopes {
			add(scope)
		}
	}
	return all
}

// day counts days since 1970, in UTC.
type day int

func dayOf(t time.Time) day { return day(t.Unix() / (24 * 60 * 60)) }

// hour counts hours since 1970.
type hour int64

func hourOf(unix int64) hour { return hour(unix / (60 * 60)) }

func (h hour) unix() int64 { return int64(h) * 60 * 60 }

// knowledge is what is known of an app. The zero value is nothing.
type knowledge struct {
	// Since is when the first sidecar began to learn, in seconds since 1970;
	// 0 while nothing is learnt.
	Since int64 `json:"since"`
	// Seen is the last day on which a sidecar had the app.
	Seen day `json:"seen"`
	// Endpoints are those that were refused for scopes, with what each needs
	// and the last day of that.
	Endpoints map[string]map[clause]day `json:"endpoints,omitempty"`
	// Refused are the tags of connections that lacked what a clause says, with
	// the last day of that.
	Refused map[clause]map[string]day `json:"refused,omitempty"`
	// Needed is when each scope was last needed.
	Needed map[string]hour `json:"needed,omitempty"`
}

// merge adds what another knows.
func (k *knowledge) merge(other knowledge) {
	if k.Since == 0 || other.Since != 0 && other.Since < k.Since {
		k.Since = other.Since
	}
	k.Seen = max(k.Seen, other.Seen)
	mergeSets(&k.Endpoints, other.Endpoints)
	mergeSets(&k.Refused, other.Refused)
	mergeLatest(&k.Needed, other.Needed)
}

func mergeSets[K, E ~string](into *map[K]map[E]day, other map[K]map[E]day) {
	for key, set := range other {
		if *into == nil {
			*into = make(map[K]map[E]day)
		}
		own := (*into)[key]
		mergeLatest(&own, set)
		(*into)[key] = own
	}
}

func mergeLatest[K ~string, T cmp.Ordered](into *map[K]T, other map[K]T) {
	for key, value := range other {
		if *into == nil {
			*into = make(map[K]T, len(other))
		}
		(*into)[key] = max((*into)[key], value)
	}
}

// clone copies all of it.
func (k *knowledge) clone() knowledge {
	var c knowledge
	c.merge(*k)
	return c
}

// note has a set know an element on a day, and reports whether that is new.
func note[K, E ~string](sets *map[K]map[E]day, key K, element E, on day) bool {
	if (*sets)[key][element] >= on {
		return false
	}
	mergeSets(sets, map[K]map[E]day{key: {element: on}})
	return true
}

// bound keeps the newest of each set, and of refusals one part in share of what
// there is room for. All go by one order, so that what is left after several
// merges does not depend on theirs.
func (k *knowledge) bound(share int) {
	keepNewest(k.Endpoints, maxClauses, max(maxEndpoints/share, 1))
	keepNewest(k.Refused, max(maxTags/share, 1), max(maxRefused/share, 1))
	needed := map[string]map[string]hour{"": k.Needed}
	keepNewest(needed, maxNeeded, maxNeeded)
}

// keepNewest keeps so many elements of each set, and of all sets together.
func keepNewest[K, E ~string, T cmp.Ordered](sets map[K]map[E]T, ofEach, ofAll int) {
	type element struct {
		set  K
		name E
		at   T
	}
	var all []element
	surplus := false
	for set, elements := range sets {
		surplus = surplus || len(elements) > ofEach
		for name, at := range elements {
			all = append(all, element{set, name, at})
		}
	}
	if !surplus && len(all) <= ofAll {
		return
	}
	slices.SortFunc(all, func(a, b element) int {
		return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(a.set, b.set), cmp.Compare(a.name, b.name))
	})
	kept, keptOf := 0, make(map[K]int, len(sets))
	for _, e := range all {
		if kept < ofAll && keptOf[e.set] < ofEach {
			kept++
			keptOf[e.set]++
			continue
		}
		delete(sets[e.set], e.name)
	}
	maps.DeleteFunc(sets, func(_ K, elements map[E]T) bool { return len(elements) == 0 })
}

// earliest is before there was a document of this kind: a clock that says so is
// wrong.
var earliest = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC).Unix()

// tidy takes out what cannot be: what does not have the form, and times that are
// those of a wrong clock, which would hold for ever.
func (k *knowledge) tidy(now time.Time) {
	if k.Since < earliest || k.Since > now.Add(time.Hour).Unix() {
		k.Since = 0
	}
	today, thisHour := dayOf(now), hourOf(now.Unix())
	k.Seen = min(k.Seen, today)
	maps.DeleteFunc(k.Endpoints, func(endpoint string, clauses map[clause]day) bool {
		tidySet(clauses, today, isClause)
		return len(endpoint) > maxEndpoint || len(clauses) == 0
	})
	maps.DeleteFunc(k.Refused, func(c clause, tags map[string]day) bool {
		tidySet(tags, today, tagName.MatchString)
		return !isClause(c) || len(tags) == 0
	})
	maps.DeleteFunc(k.Needed, func(scope string, at hour) bool {
		return !scopeName.MatchString(scope) || at.unix() < earliest-int64(time.Hour/time.Second)
	})
	for scope, at := range k.Needed {
		k.Needed[scope] = min(at, thisHour)
	}
}

func tidySet[E ~string](set map[E]day, today day, valid func(E) bool) {
	maps.DeleteFunc(set, func(element E, _ day) bool { return !valid(element) })
	for element, on := range set {
		set[element] = min(on, today)
	}
}

func isClause(c clause) bool {
	scopes := c.scopes()
	return len(c) <= maxClause && slices.IsSorted(scopes) &&
		!slices.ContainsFunc(scopes, func(scope string) bool { return !scopeName.MatchString(scope) })
}

func (k *knowledge) isEmpty() bool {
	return len(k.Endpoints) == 0 && len(k.Refused) == 0 && len(k.Needed) == 0
}
