package scopeuse_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

var (
	errDenied = fmt.Errorf("the policy: %w", connection.ErrDenied)
	errAway   = fmt.Errorf("vault is away: %w", connection.ErrUnavailable)
)

// inBubble begins in a time in which there are such documents.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, time.November, 28, 12, 0, 30, 0, time.UTC)))
		f(t)
	})
}

// What one sidecar learns is in the store soon, and known to the other.
func TestSidecarsShare(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		shared := new(store)
		begun := time.Now()
		one, two := keeper(t, scopeuse.Config{Store: shared}), keeper(t, scopeuse.Config{Store: shared})
		two.App("hbdev").Served("GET", contacts+"/101", []string{"oauth", "crm.objects.contacts.read"})
		one.App("hbdev").Refused("POST", companies, []string{"oauth"}, acme, oneOf("crm.objects.companies.write"))
		time.Sleep(13 * time.Second)
		synctest.Wait()
		if _, saves := shared.counts(); saves != 2 {
			t.Errorf("%d saves, want one of each", saves)
		}
		for _, k := range []*scopeuse.Keeper{one, two} {
			r := k.Report(t.Context(), "hbdev")
			if r.Problem != nil || !r.Since.Equal(begun) {
				t.Errorf("since %v, %v", r.Since, r.Problem)
			}
			wantNeeded(t, r, "crm.objects.contacts.read", begun, time.Hour)
			wantNeeded(t, r, "crm.objects.companies.write", begun, time.Hour)
			wantNeeded(t, r, "oauth", time.Time{}, 0)
			got := refusal(r, "crm.objects.companies.write")
			if got == nil || !slices.Equal(got.Endpoints, []string{"POST " + companies}) || !slices.Equal(got.Tags, []string{acme}) || got.More {
				t.Errorf("refusal %+v", got)
			}
		}
		if r := one.Report(t.Context(), "other"); len(r.Needed)+len(r.Refusals) != 0 {
			t.Errorf("another app: %+v", r)
		}
	})
}

// Sidecars that write at the same time lose nothing of each other's.
func TestConflictsLoseNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		shared := new(store)
		one, two := scopeuse.New(scopeuse.Config{Store: shared}), scopeuse.New(scopeuse.Config{Store: shared})
		one.App("hbdev").Refused("POST", companies, nil, acme, oneOf("a"))
		two.App("hbdev").Refused("POST", companies, nil, globex, oneOf("a"))
		two.App("other").Refused("POST", contacts, nil, globex, oneOf("b"))
		shared.set(func(s *store) { s.beforeSave = func() { two.Close(context.Background()) } })
		one.Close(t.Context())
		if _, saves := shared.counts(); saves != 2 {
			t.Errorf("%d saves", saves)
		}
		three := keeper(t, scopeuse.Config{Store: shared})
		if r := refusal(three.Report(t.Context(), "hbdev"), "a"); r == nil || len(r.Tags) != 2 {
			t.Errorf("after the conflict: %+v", r)
		}
		if r := refusal(three.Report(t.Context(), "other"), "b"); r == nil || len(r.Tags) != 1 {
			t.Errorf("another app: %+v", r)
		}
	})
}

// Where nothing is new the document is read each minute and written once an hour.
func TestWritingIsSeldom(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		shared := new(store)
		k := keeper(t, scopeuse.Config{Store: shared})
		time.Sleep(time.Hour)
		if loads, saves := shared.counts(); saves != 0 || loads < 45 || loads > 80 {
			t.Errorf("nothing learnt: %d loads, %d saves in an hour", loads, saves)
		}
		for range 4 * 360 {
			k.App("hbdev").Served("GET", contacts, []string{"crm.objects.contacts.read"})
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		if _, saves := shared.counts(); saves < 4 || saves > 6 {
			t.Errorf("%d saves in four hours", saves)
		}
		wantNeeded(t, k.Report(t.Context(), "hbdev"), "crm.objects.contacts.read", time.Now(), 2*time.Minute)
	})
}

// A store that is away, or does not permit it, is said once and loses nothing.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		shared, out := &store{fail: errAway}, new(logtest.Buffer)
		k := keeper(t, scopeuse.Config{Store: shared, Logger: out.Logger()})
		k.App("hbdev").Refused("POST", companies, nil, acme, oneOf("a"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		lines := func(text string) int { return strings.Count(out.String(), text) }
		if n := lines("stays in memory meanwhile"); n != 1 {
			t.Errorf("away: %d lines, want 1:\n%s", n, out)
		}
		r := k.Report(t.Context(), "hbdev")
		if refusal(r, "a") == nil || r.Problem == nil {
			t.Errorf("away: %+v", r)
		}
		shared.failing(errDenied)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := lines("stays in memory meanwhile"); n != 2 {
			t.Errorf("denied: %d lines, want 2:\n%s", n, out)
		}
		shared.failing(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, saves := shared.counts(); saves != 1 || lines("is in the store again") != 1 {
			t.Errorf("back: %d saves:\n%s", saves, out)
		}
	})
}

// What was learnt a moment ago is written at the end, and known after a start.
func TestCloseWrites(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		shared := new(store)
		k := scopeuse.New(scopeuse.Config{Store: shared})
		k.Start()
		begun := time.Now()
		k.App("hbdev").Served("GET", contacts, []string{"crm.objects.contacts.read"})
		k.Close(t.Context())
		k.Start()
		time.Sleep(48 * time.Hour)
		next := keeper(t, scopeuse.Config{Store: shared})
		r := next.Report(t.Context(), "hbdev")
		wantNeeded(t, r, "crm.objects.contacts.read", begun, time.Hour)
		if !r.Since.Equal(begun) {
			t.Errorf("since %v, want %v", r.Since, begun)
		}
		// The second says that the app is still there.
		if _, saves := shared.counts(); saves != 2 {
			t.Errorf("%d saves", saves)
		}
	})
}

// A store that keeps no documents keeps nothing, and says so.
func TestNoDocuments(t *testing.T) {
	t.Parallel()
	k := keeper(t, scopeuse.Config{})
	k.App("hbdev").Refused("POST", companies, nil, acme, oneOf("a"))
	if r := k.Report(t.Context(), "hbdev"); refusal(r, "a") == nil || r.Problem == nil {
		t.Errorf("%+v", r)
	}
}

// A document that cannot be read is replaced; one of a later version is left.
func TestOtherDocuments(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		for text, kept := range map[string]bool{
			"garbage":                      false,
			`{"format":0}`:                 false,
			`{"format":2,"apps":"others"}`: false,
			`{"format":2,"apps":{}}`:       true,
		} {
			shared := &store{text: text, version: 7}
			k := scopeuse.New(scopeuse.Config{Store: shared})
			k.App("hbdev").Refused("POST", companies, nil, acme, oneOf("a"))
			k.Close(t.Context())
			if (shared.text == text) != kept {
				t.Errorf("%s became %.80s", text, shared.text)
			}
			if r := k.Report(t.Context(), "hbdev"); refusal(r, "a") == nil || (r.Problem != nil) != kept {
				t.Errorf("%s: %+v", text, r)
			}
		}
	})
}

// A clock that is wrong does not make a beginning or a use that holds for ever.
func TestWrongClocks(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		now := time.Now()
		shared := &store{version: 1, text: fmt.Sprintf(
			`{"format":1,"apps":{"hbdev":{"since":60,"seen":99999,"endpoints":{"POST /crm":{"b":99999,"not a scope":20000}},`+
				`"refused":{"b":{"%s":99999,"<script>":20000}},"needed":{"a":9999999,"old":5,"x y":490000}}}}`, acme)}
		k := keeper(t, scopeuse.Config{Store: shared})
		k.App("hbdev").Served("GET", contacts, []string{"crm.objects.contacts.read"})
		r := k.Report(t.Context(), "hbdev")
		if len(r.Needed) != 2 || len(r.Refusals) != 1 || !slices.Equal(r.Refusals[0].Tags, []string{acme}) || !r.Since.Equal(now) {
			t.Errorf("%+v", r)
		}
		wantNeeded(t, r, "a", now, time.Hour)
	})
	// The same before the clock is set: nothing of that is stored.
	synctest.Test(t, func(t *testing.T) {
		shared := new(store)
		k := scopeuse.New(scopeuse.Config{Store: shared})
		k.App("hbdev").Served("GET", contacts, []string{"crm.objects.contacts.read"})
		k.Close(t.Context())
		if strings.Contains(shared.text, "contacts") {
			t.Errorf("in the year %d: %s", time.Now().Year(), shared.text)
		}
	})
}

// An app that no sidecar has any more is forgotten after a while.
func TestAppsThatAreGone(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		shared := new(store)
		one := scopeuse.New(scopeuse.Config{Store: shared})
		one.App("gone").Refused("POST", companies, nil, acme, oneOf("a"))
		one.Close(t.Context())
		two := scopeuse.New(scopeuse.Config{Store: shared})
		two.App("hbdev").Refused("POST", companies, nil, acme, oneOf("a"))
		for _, tc := range []struct {
			days int
			want bool
		}{{80, true}, {20, false}} {
			time.Sleep(time.Duration(tc.days) * 24 * time.Hour)
			two.Report(t.Context(), "hbdev")
			if strings.Contains(shared.text, "gone") != tc.want || !strings.Contains(shared.text, "hbdev") {
				t.Errorf("after %d days more: %s", tc.days, shared.text)
			}
		}
	})
}
