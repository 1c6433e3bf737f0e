package scopeuse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

func needed(t *testing.T, k *scopeuse.Keeper) []string {
	t.Helper()
	var all []string
	for scope := range k.Report(t.Context(), "hbdev").Needed {
		all = append(all, scope)
	}
	slices.Sort(all)
	return all
}

// A call that was served needed the scopes that HubSpot has named for its
// endpoint before, and otherwise those that it is named for, where they are
// granted.
func TestServed(t *testing.T) {
	t.Parallel()
	all := []string{"oauth", "crm.objects.contacts.read", "crm.objects.deals.read", "crm.schemas.deals.read", "odd"}
	for name, tc := range map[string]struct {
		learnt  []hubspot.ScopeNeed
		path    string
		granted []string
		want    []string
	}{
		"by name":               {nil, contacts + "/101", all, []string{"crm.objects.contacts.read"}},
		"not granted":           {nil, companies, all, nil},
		"unknown":               {nil, "/account-info/v3/details", all, nil},
		"the first of a choice": {nil, "/crm/v3/properties/deals", all, []string{"crm.schemas.deals.read"}},
		"the other of a choice": {nil, "/crm/v3/properties/deals", []string{"crm.objects.deals.read"}, []string{"crm.objects.deals.read"}},
		"as learnt":             {oneOf("odd"), contacts, all, []string{"odd"}},
		"one as learnt":         {oneOf("crm.schemas.deals.read", "crm.objects.deals.read"), "/crm/v3/pipelines/deals", all, []string{"crm.schemas.deals.read"}},
		"all as learnt":         {allOf("odd", "oauth"), contacts, all, []string{"oauth", "odd"}},
	} {
		k := scopeuse.New(scopeuse.Config{})
		a := k.App("hbdev")
		if tc.learnt != nil {
			a.Served("GET", tc.path, nil) // known by its name before
			a.Refused("GET", tc.path, []string{"none"}, acme, tc.learnt)
			// Only what is used from now on counts.
			other := scopeuse.New(scopeuse.Config{Store: copyOf(t, k)})
			other.App("hbdev").Served("GET", tc.path, nil)
			other.Report(t.Context(), "hbdev")
			k, a = other, other.App("hbdev")
		}
		before := needed(t, k)
		a.Served("GET", tc.path, tc.granted)
		got := slices.DeleteFunc(needed(t, k), func(scope string) bool { return slices.Contains(before, scope) && !slices.Contains(tc.want, scope) })
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	var none *scopeuse.App
	none.Served("GET", contacts, all)
	none.Refused("GET", contacts, all, acme, oneOf("a"))
}

// copyOf is a store with what a keeper knows, as another sidecar left it.
func copyOf(t *testing.T, k *scopeuse.Keeper) *store {
	t.Helper()
	s := new(store)
	r := k.Report(t.Context(), "hbdev")
	var endpoints []string
	for _, refusal := range r.Refusals {
		scopes := slices.Sorted(slices.Values(refusal.Scopes))
		for _, endpoint := range refusal.Endpoints {
			endpoints = append(endpoints, fmt.Sprintf("%q:{%q:%d}", endpoint, strings.Join(scopes, "|"), time.Now().Unix()/86400))
		}
	}
	// An endpoint stands once.
	byName := make(map[string][]string)
	for _, e := range endpoints {
		name, rest, _ := strings.Cut(e, ":{")
		byName[name] = append(byName[name], strings.TrimSuffix(rest, "}"))
	}
	endpoints = nil
	for name, clauses := range byName {
		endpoints = append(endpoints, name+":{"+strings.Join(clauses, ",")+"}")
	}
	s.text, s.version = `{"format":1,"apps":{"hbdev":{"since":`+fmt.Sprint(time.Now().Unix())+`,"seen":99999,"endpoints":{`+strings.Join(endpoints, ",")+`}}}}`, 1
	return s
}

// A refusal names what an endpoint needs, and who lacked it.
func TestRefused(t *testing.T) {
	t.Parallel()
	k := scopeuse.New(scopeuse.Config{})
	a := k.App("hbdev")
	a.Refused("POST", contacts+"/4711/person@example.com", []string{"oauth"}, acme, allOf("oauth", "a"))
	a.Refused("POST", contacts, []string{"oauth"}, "Acme GmbH", oneOf("a"))
	a.Refused("POST", contacts, []string{"oauth"}, "unknown", oneOf("a"))
	a.Refused("GET", "/crm/v3/pipelines/deals", nil, globex, oneOf("crm.objects.deals.read", "crm.schemas.deals.read"))
	a.Refused("GET", "/crm/v3/lists", nil, globex, nil)
	a.Refused("GET", "/crm/v3/lists", nil, globex, oneOf("", "a b", `"`, "a|b", "ä", strings.Repeat("a", 97)))
	many := make([]string, 200_000)
	for i := range many {
		many[i] = fmt.Sprintf("s%d", i)
	}
	begun := time.Now()
	a.Refused("GET", "/crm/v3/lists", nil, globex, oneOf(many...))
	k.App("other").Refused("GET", "/crm/v3/lists", nil, globex, allOf(many...))
	if took := time.Since(begun); took > 5*time.Second || len(k.Report(t.Context(), "other").Refusals) != 4 {
		t.Errorf("an answer with %d scopes took %v", len(many), took)
	}
	r := k.Report(t.Context(), "hbdev")
	if len(r.Refusals) != 3 {
		t.Fatalf("%+v", r.Refusals)
	}
	if got := refusal(r, "a"); !slices.Equal(got.Endpoints, []string{"POST " + contacts, "POST " + contacts + "/{id}/{id}"}) || !slices.Equal(got.Tags, []string{acme}) {
		t.Errorf("a: %+v", got)
	}
	if got := refusal(r, "oauth"); len(got.Tags) != 0 {
		t.Errorf("what was granted is missing: %+v", got)
	}
	if got := refusal(r, "crm.objects.deals.read"); !slices.Equal(got.Scopes, []string{"crm.schemas.deals.read", "crm.objects.deals.read"}) {
		t.Errorf("a choice: %+v", got)
	}
	if got := needed(t, k); !slices.Equal(got, []string{"a", "crm.schemas.deals.read", "oauth"}) {
		t.Errorf("needed: %v", got)
	}
}

// Nothing that callers or HubSpot send makes the document larger than a store
// takes, and what is left is the same for all, in whatever order it came.
func TestBounds(t *testing.T) {
	t.Parallel()
	words := []string{"crm", "objects", "contacts", "companies", "deals", "search", "batch", "read", "0-1", "0-2", "v3", "v4", "2026-09"}
	shared := new(store)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		k := scopeuse.New(scopeuse.Config{Store: shared})
		for app := range 4 {
			a := k.App(fmt.Sprintf("app%d", app))
			for range 250 {
				var path strings.Builder
				for range 1 + random.IntN(16) {
					path.WriteString("/" + words[random.IntN(len(words))])
				}
				scope := func() string { return fmt.Sprintf("scope.%d.%s", random.IntN(200), strings.Repeat("x", 80)) }
				tag := fmt.Sprintf("%012x", random.Uint64()>>16)
				a.Refused("POST", path.String(), nil, tag, append(oneOf(scope(), scope(), scope()), allOf(scope(), scope())...))
				a.Served("GET", path.String(), []string{"crm.objects.contacts.read"})
			}
		}
		k.Close(t.Context())
	}
	if n := len(shared.text); n > connection.MaxDocument || n < connection.MaxDocument/8 {
		t.Errorf("the document has %d bytes", n)
	}
	k := scopeuse.New(scopeuse.Config{Store: shared})
	before, saves := shared.text, shared.saves
	for app := range 4 {
		r := k.Report(t.Context(), fmt.Sprintf("app%d", app))
		if r.Problem != nil || len(r.Refusals) == 0 || len(r.Refusals) > 1024 {
			t.Errorf("%d refusals, %v", len(r.Refusals), r.Problem)
		}
	}
	if shared.text != before || shared.saves != saves {
		t.Error("the document changes by being read")
	}
}

// A call that brings nothing new costs no memory.
func TestServedDoesNotAllocate(t *testing.T) {
	k := scopeuse.New(scopeuse.Config{})
	a := k.App("hbdev")
	granted := []string{"oauth", "crm.objects.contacts.read"}
	path := contacts + "/4711/associations/companies"
	if n := testing.AllocsPerRun(1000, func() { a.Served("GET", path, granted) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !slices.Equal(needed(t, k), []string{"crm.objects.contacts.read"}) {
		t.Errorf("needed: %v", needed(t, k))
	}
}

func BenchmarkServed(b *testing.B) {
	a := scopeuse.New(scopeuse.Config{}).App("hbdev")
	granted := []string{"oauth", "crm.objects.companies.read", "crm.objects.deals.read", "crm.objects.contacts.read"}
	for b.Loop() {
		a.Served("GET", contacts+"/4711", granted)
	}
}
