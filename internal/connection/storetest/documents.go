package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// RunDocuments runs the suite of [connection.DocumentStore], which the stores
// of b must be, too. It calls fresh once per test, for a new backing store.
func RunDocuments(t *testing.T, fresh func(t *testing.T) Backing) {
	t.Helper()
	for _, tc := range []struct {
		name string
		test func(t *testing.T, b Backing)
	}{
		{"SaveAndLoad", testDocuments},
		{"Conflicts", testDocumentConflicts},
		{"OneWinnerPerVersion", testDocumentWinner},
		{"BesideConnections", testDocumentsBesideConnections},
		{"BadArguments", testDocumentArguments},
		{"ContextEnds", testDocumentContext},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, fresh(t)) })
	}
}

func documents(t *testing.T, b Backing) connection.DocumentStore {
	t.Helper()
	s, ok := b.Open(t).(connection.DocumentStore)
	if !ok {
		t.Fatal("the store keeps no documents")
	}
	return s
}

func wantDocument(t *testing.T, s connection.DocumentStore, name, text string, version uint64) {
	t.Helper()
	got, v, err := s.LoadDocument(t.Context(), name)
	if err != nil || got != text || v != version {
		t.Errorf("LoadDocument(%q) = %.60q, version %d, %v; want %.60q, version %d", name, got, v, err, text, version)
	}
}

func saveDocument(t *testing.T, s connection.DocumentStore, name, text string, based uint64) {
	t.Helper()
	if version, err := s.SaveDocument(t.Context(), name, text, based); err != nil || version != based+1 {
		t.Fatalf("SaveDocument(%q) on version %d = %d, %v; want version %d", name, based, version, err, based+1)
	}
}

func testDocuments(t *testing.T, b Backing) {
	one, two := documents(t, b), documents(t, b)
	for _, s := range []connection.DocumentStore{one, two} {
		if _, _, err := s.LoadDocument(t.Context(), "freezes"); !errors.Is(err, connection.ErrNotFound) {
			t.Fatalf("LoadDocument of nothing: error = %v; want ErrNotFound", err)
		}
	}
	based := uint64(0)
	for _, text := range []string{
		"a", `{"a":"b"}`, "", "zażółć \u2028 \n\x00 👩‍💻", strings.Repeat("x", connection.MaxDocument),
	} {
		saveDocument(t, one, "freezes", text, based)
		based++
		wantDocument(t, one, "freezes", text, based)
		wantDocument(t, two, "freezes", text, based)
		wantDocument(t, documents(t, b), "freezes", text, based)
	}
	saveDocument(t, two, "others", "another", 0)
	wantDocument(t, one, "others", "another", 1)
}

func testDocumentConflicts(t *testing.T, b Backing) {
	s := documents(t, b)
	saveDocument(t, s, "freezes", "one", 0)
	saveDocument(t, s, "freezes", "two", 1)
	for _, based := range []uint64{0, 1, 3, 99} {
		if _, err := s.SaveDocument(t.Context(), "freezes", "late", based); !errors.Is(err, connection.ErrConflict) {
			t.Errorf("SaveDocument on version %d of 2: error = %v; want ErrConflict", based, err)
		}
	}
	if _, err := s.SaveDocument(t.Context(), "others", "early", 1); !errors.Is(err, connection.ErrConflict) {
		t.Errorf("SaveDocument on a version of nothing: error = %v; want ErrConflict", err)
	}
	wantDocument(t, s, "freezes", "two", 2)
}

func testDocumentWinner(t *testing.T, b Backing) {
	saveDocument(t, documents(t, b), "freezes", "first", 0)
	const writers = 6
	won := make([]bool, writers)
	var wg sync.WaitGroup
	for i := range writers {
		s := documents(t, b)
		wg.Go(func() {
			_, err := s.SaveDocument(t.Context(), "freezes", fmt.Sprint("writer ", i), 1)
			if err != nil && !errors.Is(err, connection.ErrConflict) {
				t.Errorf("SaveDocument: error = %v; want none or ErrConflict", err)
			}
			won[i] = err == nil
		})
	}
	wg.Wait()
	winner := -1
	for i, did := range won {
		switch {
		case did && winner >= 0:
			t.Fatalf("writers %d and %d both won", winner, i)
		case did:
			winner = i
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	wantDocument(t, documents(t, b), "freezes", fmt.Sprint("writer ", winner), 2)
}

func testDocumentsBesideConnections(t *testing.T, b Backing) {
	s := b.Open(t)
	saveDocument(t, documents(t, b), "freezes", "text", 0)
	if listed := listAll(t, s, app, 10); len(listed) != 0 {
		t.Errorf("List has %d records after a document was saved; want none", len(listed))
	}
	r := sample(key("freezes"))
	save(t, s, r, 0)
	wantRecord(t, load(t, s, r.Key), r, 1)
	wantDocument(t, documents(t, b), "freezes", "text", 1)
}

func testDocumentArguments(t *testing.T, b Backing) {
	s := documents(t, b)
	for _, name := range []string{"", "..", "a/b", "../x", "Freezes", "a b", "a\n", "%2e", strings.Repeat("x", 100)} {
		if _, _, err := s.LoadDocument(t.Context(), name); err == nil || errors.Is(err, connection.ErrNotFound) {
			t.Errorf("LoadDocument(%q): error = %v; want one about the name", name, err)
		}
		if _, err := s.SaveDocument(t.Context(), name, "text", 0); err == nil {
			t.Errorf("SaveDocument(%q) was accepted", name)
		}
	}
	for what, text := range map[string]string{"not UTF-8": "a\xffb", "too long": strings.Repeat("x", connection.MaxDocument+1)} {
		if _, err := s.SaveDocument(t.Context(), "freezes", text, 0); err == nil {
			t.Errorf("a text that is %s was accepted", what)
		}
	}
}

func testDocumentContext(t *testing.T, b Backing) {
	s := documents(t, b)
	saveDocument(t, s, "freezes", "text", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, loading := s.LoadDocument(ctx, "freezes")
	_, saving := s.SaveDocument(ctx, "freezes", "late", 1)
	for call, err := range map[string]error{"LoadDocument": loading, "SaveDocument": saving} {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, connection.ErrUnavailable) {
			t.Errorf("%s with a context that is canceled: error = %v; want the context's or ErrUnavailable", call, err)
		}
	}
	wantDocument(t, s, "freezes", "text", 1)
}
