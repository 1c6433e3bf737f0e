package exporting_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/exporting"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

type source struct {
	records []connection.Record
	err     error
}

func (s source) EachActive(_ context.Context, each func(connection.Record) error) error {
	for _, r := range s.records {
		if err := each(r); err != nil {
			return err
		}
	}
	return s.err
}

// What is exported is what an import reads after age has opened it, and nobody
// else can read it.
func TestWriteIsReadByAnImport(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := exporting.ParseRecipient(identity.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	records := []connection.Record{
		{Key: connection.Key{App: "hbdev", User: "a\"<é>"}, HubID: 7, Scopes: []string{"oauth"}, RefreshToken: secret.New("r1"), AccessToken: secret.New("a1"), ExpiresAt: expires},
		{Key: connection.Key{App: "hbdev", User: "b"}, HubID: 8, RefreshToken: secret.New("r2"), ExpiresAt: expires},
		{Key: connection.Key{App: "hbdev", User: "c"}, HubID: 9, Static: true, AccessToken: secret.New("pat-1")},
	}
	var file bytes.Buffer
	if n, err := exporting.Write(t.Context(), &file, source{records: records}, []exporting.Recipient{recipient}); err != nil || n != 3 {
		t.Fatalf("%d, %v", n, err)
	}
	if strings.Contains(file.String(), "r1") && strings.Contains(file.String(), "pat-1") {
		t.Fatal("it is not sealed")
	}
	opened, err := age.Decrypt(bytes.NewReader(file.Bytes()), identity)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := importfile.NewReader(opened, importfile.JSONLines)
	if err != nil {
		t.Fatal(err)
	}
	var got []importfile.Record
	for {
		item, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || item.Err != nil {
			t.Fatal(err, item.Err)
		}
		got = append(got, item.Record)
	}
	if len(got) != 3 || got[0].User != "a\"<é>" || got[0].RefreshToken.Reveal() != "r1" || !got[0].ExpiresAt.Equal(expires) ||
		!got[1].AccessToken.IsZero() || !got[1].ExpiresAt.IsZero() || got[2].Token.Reveal() != "pat-1" || got[2].HubID != 9 {
		t.Errorf("%+v", got)
	}
	other, _ := age.GenerateX25519Identity()
	if _, err := age.Decrypt(bytes.NewReader(file.Bytes()), other); err == nil {
		t.Error("another key opens it")
	}
}

// An export that broke off is known to be one.
func TestWriteThatBreaksOff(t *testing.T) {
	t.Parallel()
	identity, _ := age.GenerateX25519Identity()
	recipient, err := exporting.ParseRecipient(identity.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	broken := source{records: []connection.Record{{Key: connection.Key{User: "a"}, RefreshToken: secret.New("r")}}, err: connection.ErrUnavailable}
	if _, err := exporting.Write(t.Context(), &file, broken, []exporting.Recipient{recipient}); !errors.Is(err, connection.ErrUnavailable) {
		t.Fatal(err)
	}
	opened, err := age.Decrypt(bytes.NewReader(file.Bytes()), identity)
	if err == nil {
		_, err = io.ReadAll(opened)
	}
	if err == nil {
		t.Error("it opens as if it were whole")
	}
}

func TestParseRecipient(t *testing.T) {
	t.Parallel()
	identity, _ := age.GenerateX25519Identity()
	for _, text := range []string{"", "age1", "age1x\nage1y", identity.String(), identity.Recipient().String() + "\n" + identity.Recipient().String()} {
		_, err := exporting.ParseRecipient(text)
		if !errors.Is(err, exporting.ErrRecipient) || text != "" && len(text) > 10 && strings.Contains(err.Error(), text) {
			t.Errorf("%.8s: %v", text, err)
		}
	}
}
