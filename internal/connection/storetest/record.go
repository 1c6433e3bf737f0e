package storetest

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const app = "hbdev"

func key(user string) connection.Key { return connection.Key{App: app, User: user} }

// sample returns a record with every field set.
func sample(k connection.Key) connection.Record {
	issued := time.Date(2026, 11, 23, 10, 20, 30, 123456789, time.UTC)
	return connection.Record{
		Key:           k,
		Status:        connection.StatusActive,
		HubID:         62515,
		Scopes:        []string{"oauth", "crm.objects.contacts.read"},
		MissingScopes: []string{"crm.objects.deals.read"},
		Generation:    rand.Text(),
		Rotates:       true,
		AccessToken:   secret.New("access-" + rand.Text()),
		RefreshToken:  secret.New("refresh-" + rand.Text()),
		IssuedAt:      issued,
		ExpiresAt:     issued.Add(30 * time.Minute),
		ConnectedAt:   issued.Add(-time.Hour),
		UpdatedAt:     issued.Add(time.Nanosecond),
		Reason:        "because \"of\" <this> & ünïcode",
		ReasonAt:      issued.Add(-time.Minute),
		Claim:         &connection.Claim{ID: rand.Text(), Owner: "host-1", For: "4f2a"},
		UsedNonces:    map[string]time.Time{"n1": issued, "n2": issued.Add(time.Minute)},
		WriteID:       rand.Text(),
	}
}

// tombstone returns what a disconnect writes.
func tombstone(k connection.Key) connection.Record {
	return connection.Record{Key: k, Status: connection.StatusDisconnected, WriteID: rand.Text()}
}

func save(t *testing.T, s connection.Store, r connection.Record, based uint64) uint64 {
	t.Helper()
	version, err := s.Save(t.Context(), r, based)
	if err != nil {
		t.Fatalf("Save based on version %d: %v", based, err)
	}
	if version != based+1 {
		t.Fatalf("Save based on version %d = version %d; want %d", based, version, based+1)
	}
	return version
}

func load(t *testing.T, s connection.Store, k connection.Key) connection.Versioned {
	t.Helper()
	got, err := s.Load(t.Context(), k)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return got
}

// wantRecord compares field by field, the secret ones included.
func wantRecord(t *testing.T, got connection.Versioned, want connection.Record, version uint64) {
	t.Helper()
	if got.Version != version {
		t.Errorf("loaded version = %d; want %d", got.Version, version)
	}
	have, expected := fields(got.Record), fields(want)
	for name, value := range expected {
		if have[name] != value {
			t.Errorf("field %q = %.200q; want %.200q", name, have[name], value)
		}
		delete(have, name)
	}
	for name, value := range have {
		t.Errorf("field %q = %.200q; want none", name, value)
	}
}

// fields encodes r with its one-time values in a fixed order.
func fields(r connection.Record) map[string]string {
	nonces := r.UsedNonces
	r.UsedNonces = nil
	encoded := r.Encode()
	for nonce, until := range nonces {
		encoded["used nonce "+nonce] = until.Format(time.RFC3339Nano)
	}
	return encoded
}
