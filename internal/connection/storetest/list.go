package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// listAll follows the cursors to the end of the listing.
func listAll(t *testing.T, s connection.Store, app string, limit int) []connection.Versioned {
	t.Helper()
	var all []connection.Versioned
	cursor := ""
	for range 1000 {
		page, err := s.List(t.Context(), app, cursor, limit)
		if err != nil {
			t.Fatalf("List(limit %d): %v", limit, err)
		}
		if len(page.Records) > limit {
			t.Fatalf("List(limit %d) = %d records", limit, len(page.Records))
		}
		all = append(all, page.Records...)
		if page.Next == "" {
			return all
		}
		if page.Next == cursor {
			t.Fatalf("List(limit %d) gives back the cursor it was given", limit)
		}
		cursor = page.Next
	}
	t.Fatalf("List(limit %d) does not end", limit)
	return nil
}

func users(records []connection.Versioned) []string {
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = r.User
	}
	return names
}

func testListPages(t *testing.T, b Backing) {
	s := b.Open(t)
	const count = 25
	want := make(map[string]connection.Record)
	for i := range count {
		r := sample(key(fmt.Sprintf("user-%d", i)))
		want[r.User] = r
		save(t, s, r, 0)
	}
	page, err := s.List(t.Context(), app, "", count+1)
	if err != nil || len(page.Records) != count || page.Next != "" {
		t.Fatalf("List of everything = %d records, next %q, error %v; want %d and no next", len(page.Records), page.Next, err, count)
	}
	for _, r := range page.Records {
		wantRecord(t, r, want[r.User], 1)
	}
	order := users(page.Records)
	if distinct := slices.Compact(slices.Sorted(slices.Values(order))); len(distinct) != count {
		t.Fatalf("List has %d distinct users; want %d", len(distinct), count)
	}
	for _, limit := range []int{1, 7, count - 1, count, 1000} {
		for range 2 {
			if got := users(listAll(t, b.Open(t), app, limit)); !slices.Equal(got, order) {
				t.Errorf("List by pages of %d = %v; want %v", limit, got, order)
			}
		}
	}
	save(t, s, sample(key("user-3")), 1)
	if got := users(listAll(t, s, app, 4)); !slices.Equal(got, order) {
		t.Errorf("List after an update = %v; want the same order %v", got, order)
	}
}

func testListRefusesACursor(t *testing.T, b Backing) {
	for _, cursor := range []string{"?", "../x", "nonsense"} {
		if _, err := b.Open(t).List(t.Context(), app, cursor, 1); !errors.Is(err, connection.ErrBadCursor) {
			t.Errorf("List() from the cursor %q = %v; want ErrBadCursor", cursor, err)
		}
	}
}

func testListIsPerApp(t *testing.T, b Backing) {
	s := b.Open(t)
	if got := listAll(t, s, app, 10); len(got) != 0 {
		t.Errorf("List of an empty store = %d records; want none", len(got))
	}
	for _, k := range []connection.Key{
		{App: "hbdev", User: "one"}, {App: "hbdev2", User: "two"}, {App: "hbde", User: "three"}, {App: "hbdev", User: "four"},
	} {
		save(t, s, sample(k), 0)
	}
	for _, tc := range []struct {
		app  string
		want []string
	}{
		{"hbdev", []string{"four", "one"}},
		{"hbdev2", []string{"two"}},
		{"hbde", []string{"three"}},
		{"h", nil},
		{"other", nil},
	} {
		got := listAll(t, s, tc.app, 1)
		for _, r := range got {
			if r.App != tc.app {
				t.Errorf("List of %q has a record of %q", tc.app, r.App)
			}
		}
		if names := slices.Sorted(slices.Values(users(got))); !slices.Equal(names, tc.want) {
			t.Errorf("List of %q = %v; want %v", tc.app, names, tc.want)
		}
	}
}

func testListHasTombstones(t *testing.T, b Backing) {
	s := b.Open(t)
	k := key("gone")
	save(t, s, sample(k), 0)
	want := tombstone(k)
	save(t, s, want, 1)
	if err := s.Erase(t.Context(), k, 2); err != nil {
		t.Fatalf("Erase: %v", err)
	}
	got := listAll(t, s, app, 10)
	if len(got) != 1 {
		t.Fatalf("List = %d records; want the tombstone", len(got))
	}
	wantRecord(t, got[0], want, 2)
}
