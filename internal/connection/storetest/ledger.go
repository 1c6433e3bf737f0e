package storetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func wantSheet(t *testing.T, s connection.Store, app, name, text string, version uint64) {
	t.Helper()
	got, v, err := s.LoadSheet(t.Context(), app, name)
	if err != nil || got != text || v != version {
		t.Errorf("LoadSheet(%q, %q) = %.60q, version %d, %v; want %.60q, version %d", app, name, got, v, err, text, version)
	}
}

func saveSheet(t *testing.T, s connection.Store, app, name, text string, based uint64) {
	t.Helper()
	if version, err := s.SaveSheet(t.Context(), app, name, text, based); err != nil || version != based+1 {
		t.Fatalf("SaveSheet(%q, %q) on version %d = %d, %v; want version %d", app, name, based, version, err, based+1)
	}
}

// testLedger: two handles see one sheet, apps and names do not meet, and the
// connections do not see any of it.
func testLedger(t *testing.T, b Backing) {
	one, two := b.Open(t), b.Open(t)
	if _, _, err := one.LoadSheet(t.Context(), app, "0af"); !errors.Is(err, connection.ErrNotFound) {
		t.Fatalf("LoadSheet of nothing: error = %v; want ErrNotFound", err)
	}
	for based, text := range []string{"a", `{"a":"b"}`, "", "zażółć \u2028 \n👩‍💻", strings.Repeat("x", connection.MaxSheet)} {
		saveSheet(t, one, app, "0af", text, uint64(based))
		wantSheet(t, two, app, "0af", text, uint64(based)+1)
	}
	saveSheet(t, two, app, "board", "another", 0)
	saveSheet(t, two, "other", "board", "of another app", 0)
	wantSheet(t, one, app, "board", "another", 1)
	wantSheet(t, b.Open(t), "other", "board", "of another app", 1)
	if listed := listAll(t, one, app, 10); len(listed) != 0 {
		t.Errorf("List has %d records after sheets were saved; want none", len(listed))
	}
	r := sample(key("board"))
	save(t, one, r, 0)
	wantRecord(t, load(t, two, r.Key), r, 1)
	wantSheet(t, two, app, "board", "another", 1)
}

// testLedgerWinner: of the writers over one version one wins.
func testLedgerWinner(t *testing.T, b Backing) {
	saveSheet(t, b.Open(t), app, "0af", "first", 0)
	for _, based := range []uint64{0, 2, 99} {
		if _, err := b.Open(t).SaveSheet(t.Context(), app, "0af", "late", based); !errors.Is(err, connection.ErrConflict) {
			t.Errorf("SaveSheet on version %d of 1: error = %v; want ErrConflict", based, err)
		}
	}
	const writers = 6
	won := make([]bool, writers)
	var wg sync.WaitGroup
	for i := range writers {
		s := b.Open(t)
		wg.Go(func() {
			_, err := s.SaveSheet(t.Context(), app, "0af", fmt.Sprint("writer ", i), 1)
			if err != nil && !errors.Is(err, connection.ErrConflict) {
				t.Errorf("SaveSheet: error = %v; want none or ErrConflict", err)
			}
			won[i] = err == nil
		})
	}
	wg.Wait()
	winners := 0
	for i, did := range won {
		if did {
			winners++
			wantSheet(t, b.Open(t), app, "0af", fmt.Sprint("writer ", i), 2)
		}
	}
	if winners != 1 {
		t.Errorf("%d writers won; want one", winners)
	}
}

func testLedgerArguments(t *testing.T, b Backing) {
	s := b.Open(t)
	for _, name := range []string{"", "..", "a/b", "../x", "Board", "a b", "a\n", "%2e", strings.Repeat("x", 100)} {
		if _, _, err := s.LoadSheet(t.Context(), app, name); err == nil || errors.Is(err, connection.ErrNotFound) {
			t.Errorf("LoadSheet(%q): error = %v; want one about the name", name, err)
		}
		if _, err := s.SaveSheet(t.Context(), app, name, "text", 0); err == nil {
			t.Errorf("SaveSheet(%q) was accepted", name)
		}
	}
	for what, text := range map[string]string{"not UTF-8": "a\xffb", "too long": strings.Repeat("x", connection.MaxSheet+1)} {
		if _, err := s.SaveSheet(t.Context(), app, "board", text, 0); err == nil {
			t.Errorf("a text that is %s was accepted", what)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.SaveSheet(ctx, app, "board", "late", 0); !errors.Is(err, context.Canceled) && !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("SaveSheet with a context that is canceled: error = %v; want the context's or ErrUnavailable", err)
	}
}

// testMark: marks are the same for all who share the store, tell apps and texts
// apart, show nothing, and are no connection's id.
func testMark(t *testing.T, b Backing) {
	mark := func(s connection.Store, app, text string) string {
		t.Helper()
		m, err := s.Mark(t.Context(), app, text)
		if err != nil || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(m) {
			t.Fatalf("Mark(%q, %q) = %q, %v; want 32 hex digits", app, text, m, err)
		}
		return m
	}
	one, two := b.Open(t), b.Open(t)
	token := "na1-0000-1111"
	if a, b := mark(one, app, token), mark(two, app, token); a != b {
		t.Errorf("two handles mark one text %s and %s", a, b)
	}
	id, err := one.ID(t.Context(), connection.Key{App: app, User: token})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{id: "the connection of that name", mark(one, app, token): "the text"}
	for what, m := range map[string]string{
		"another text": mark(one, app, token+"x"), "another app": mark(one, "other", token), "a split elsewhere": mark(one, app+"n", token[1:]),
	} {
		if seen[m] != "" {
			t.Errorf("%s has the mark of %s", what, seen[m])
		}
		seen[m] = what
	}
}
