package secretuse_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

func TestLedger(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	begun := now
	ledger := secretuse.NewLedger(func() time.Time { return now })
	old, fresh := secret.New("old"), secret.New("fresh")
	ledger.Note(old, secretuse.Refresh)
	now = now.Add(time.Minute)
	ledger.Noting(secretuse.Webhook)(secret.New("old"))
	ledger.Note(fresh, secretuse.Refresh)
	ledger.Note(secret.Text{}, secretuse.Refresh)
	want := map[secretuse.Purpose]time.Time{secretuse.Refresh: begun, secretuse.Webhook: now}
	got := ledger.Uses(secret.New("old"))
	if !maps.Equal(got, want) {
		t.Errorf("uses of the old one: %v, want %v", got, want)
	}
	clear(got)
	if got := ledger.Uses(old); !maps.Equal(got, want) {
		t.Errorf("a reader changed the ledger: %v", got)
	}
	if got := ledger.Uses(fresh); len(got) != 1 || !got[secretuse.Refresh].Equal(now) {
		t.Errorf("uses of the new one: %v", got)
	}
	if got := ledger.Uses(secret.Text{}); len(got) != 0 {
		t.Errorf("uses of no secret: %v", got)
	}
	if !ledger.Since().Equal(begun) {
		t.Errorf("begun at %v", ledger.Since())
	}
}

func TestLedgersAreBounded(t *testing.T) {
	t.Parallel()
	ledger := secretuse.NewLedger(time.Now)
	for i := range 1000 {
		ledger.Note(secret.New(fmt.Sprint("secret ", i)), secretuse.Refresh)
	}
	known := 0
	for i := range 1000 {
		known += len(ledger.Uses(secret.New(fmt.Sprint("secret ", i))))
	}
	if known == 0 || known > 16 {
		t.Errorf("%d secrets are known", known)
	}
	if len(ledger.Uses(secret.New("secret 999"))) != 1 {
		t.Error("the last one is forgotten")
	}
}

func TestBook(t *testing.T) {
	t.Parallel()
	var book secretuse.Book
	book.Of("hbdev").Note(secret.New("x"), secretuse.Refresh)
	if len(book.Of("hbdev").Uses(secret.New("x"))) != 1 || len(book.Of("other").Uses(secret.New("x"))) != 0 {
		t.Error("ledgers of apps are mixed up")
	}
	var none *secretuse.Ledger
	none.Note(secret.New("x"), secretuse.Refresh)
	if none.Uses(secret.New("x")) != nil || !none.Since().IsZero() {
		t.Error("no ledger knows something")
	}
}
