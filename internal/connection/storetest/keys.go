package storetest

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// oddUsers are identifiers that a vendor may well have. No two are equal.
func oddUsers() []string {
	return []string{
		"a", "0", "acme", "Acme", "ACME",
		"7c9e6679-7425-40de-944b-e07fc1f90ae7",
		"jane.doe+hubspot@example.com", "Jane.Doe+hubspot@example.com",
		"with space", " leading", "trailing ", "acme ", " ",
		"a/b", "/a", "a/", "a//b", "/", ".", "..", "../a", "a/../b", "./a",
		"%2e%2e", "%2F", "a%2Fb", "%", "%zz", "a?b=c", "a#b", "a;b", "a&b", "a=b", "a,b", "a:b", "a|b",
		"*", "+", "a*", "~", "$", "\\", "a\\b", `"`, "'", "`", "<a>", "{a}", "[a]",
		"key", "data", "metadata", "_", "-", "connections",
		"zażółć", "日本語", "👩‍💻", "עברית", "\u00e9", "e\u0301",
		"tab\there", "line\nbreak", "\r\n", "\x00", "a\x00b", "\x7f", "\u200b", "\u00a0", "\ufeff",
		strings.Repeat("x", 10_000), strings.Repeat("x", 9_999) + "y", strings.Repeat("ü/", 3_333),
	}
}

func testOddUsers(t *testing.T, b Backing) {
	s := b.Open(t)
	users := oddUsers()
	want := make(map[string]connection.Record)
	ids := make(map[string]string)
	for _, user := range users {
		want[user] = sample(key(user))
		save(t, s, want[user], 0)
		id, err := s.ID(t.Context(), key(user))
		if err != nil {
			t.Fatalf("ID of %.40q: %v", user, err)
		}
		if other, taken := ids[id]; taken {
			t.Errorf("ID of %.40q is also that of %.40q", user, other)
		}
		ids[id] = user
	}
	for _, user := range users {
		wantRecord(t, load(t, s, key(user)), want[user], 1)
	}
	listed := listAll(t, s, app, 50)
	if len(listed) != len(users) {
		t.Errorf("List has %d records; want %d", len(listed), len(users))
	}
	for _, r := range listed {
		wantRecord(t, r, want[r.User], 1)
	}
}

// testKeysDoNotMeet uses keys whose parts join to the same text.
func testKeysDoNotMeet(t *testing.T, b Backing) {
	s := b.Open(t)
	keys := []connection.Key{
		{App: "a", User: "bc"},
		{App: "ab", User: "c"},
		{App: "abc", User: "a"},
		{App: "a", User: "b/c"},
		{App: "a", User: "a"},
		{App: "a", User: "A"},
	}
	records := make([]connection.Record, len(keys))
	for i, k := range keys {
		records[i] = sample(k)
		save(t, s, records[i], 0)
	}
	for i, k := range keys {
		wantRecord(t, load(t, s, k), records[i], 1)
	}
}

var opaque = regexp.MustCompile(`^[0-9a-f]{16,128}$`)

func testID(t *testing.T, b Backing) {
	one, two := b.Open(t), b.Open(t)
	var seen []string
	for _, k := range []connection.Key{key("acme"), key("Acme"), key("acme "), {App: "other", User: "acme"}} {
		id, err := one.ID(t.Context(), k)
		if err != nil {
			t.Fatalf("ID: %v", err)
		}
		if !opaque.MatchString(id) {
			t.Errorf("ID = %q; want lowercase hex", id)
		}
		if slices.Contains(seen, id) {
			t.Errorf("ID %q was given to two keys", id)
		}
		seen = append(seen, id)
		if again, err := one.ID(t.Context(), k); err != nil || again != id {
			t.Errorf("second ID = %q, %v; want %q", again, err, id)
		}
		if other, err := two.ID(t.Context(), k); err != nil || other != id {
			t.Errorf("ID from another handle = %q, %v; want %q", other, err, id)
		}
	}
	save(t, one, sample(key("acme")), 0)
	if after, err := b.Open(t).ID(t.Context(), key("acme")); err != nil || after != seen[0] {
		t.Errorf("ID after a save, from a third handle = %q, %v; want %q", after, err, seen[0])
	}
}

func testContextEnds(t *testing.T, b Backing) {
	s := b.Open(t)
	k := key("acme")
	r := sample(k)
	save(t, s, r, 0)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for name, ctx := range map[string]context.Context{"canceled": canceled, "expired": expired} {
		_, loading := s.Load(ctx, k)
		_, saving := s.Save(ctx, sample(k), 1)
		_, listing := s.List(ctx, app, "", 10)
		for call, err := range map[string]error{
			"Load": loading, "Save": saving, "List": listing, "Erase": s.Erase(ctx, k, 1),
		} {
			if !errors.Is(err, ctx.Err()) && !errors.Is(err, connection.ErrUnavailable) {
				t.Errorf("%s with a context that is %s: error = %v; want the context's or ErrUnavailable", call, name, err)
			}
		}
	}
	wantRecord(t, load(t, s, k), r, 1)
}
