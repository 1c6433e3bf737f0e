package connection_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func fullRecord() connection.Record {
	at := time.Date(2026, 9, 8, 7, 6, 5, 4000, time.UTC)
	return connection.Record{
		Key:           connection.Key{App: app, User: "Zoë <zoe@example.com>"},
		Status:        connection.StatusActive,
		HubID:         1 << 40,
		Scopes:        []string{"oauth", "crm.objects.contacts.read"},
		MissingScopes: []string{"tickets"},
		Generation:    "G",
		Rotates:       true,
		AccessToken:   secret.New("access"),
		RefreshToken:  secret.New("refresh"),
		IssuedAt:      at,
		ExpiresAt:     at.Add(30 * time.Minute),
		ConnectedAt:   at,
		UpdatedAt:     at,
		Reason:        "r",
		ReasonAt:      at,
		Claim:         &connection.Claim{ID: "c", Owner: "o", For: "f"},
		UsedNonces:    map[string]time.Time{"n1": at},
		WriteID:       "w",
		Extra:         map[string]string{"later_field": "x"},
	}
}

func TestRecordSurvivesTheStore(t *testing.T) {
	want := fullRecord().Encode()
	r, err := connection.Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Encode(); !maps.Equal(got, want) {
		t.Errorf("got %d fields, want %d:\n%v\n%v", len(got), len(want), got, want)
	}
	if r.Extra["later_field"] != "x" {
		t.Error("a field of a later version was dropped")
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	for name, damage := range map[string]func(map[string]string){
		"app":           func(f map[string]string) { delete(f, "app") },
		"user":          func(f map[string]string) { delete(f, "user") },
		"status":        func(f map[string]string) { f["status"] = "fine" },
		"hub_id":        func(f map[string]string) { f["hub_id"] = "secret-1x" },
		"expires_at":    func(f map[string]string) { f["expires_at"] = "secret-soon" },
		"used_nonces":   func(f map[string]string) { f["used_nonces"] = "secret-n" },
		"refresh_token": func(f map[string]string) { delete(f, "refresh_token") },
	} {
		t.Run(name, func(t *testing.T) {
			fields := fullRecord().Encode()
			damage(fields)
			_, err := connection.Decode(fields)
			if !errors.Is(err, connection.ErrCorrupt) {
				t.Fatalf("Decode() = %v; want ErrCorrupt", err)
			}
			if !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Decode() = %q; want the field's name and no value", err)
			}
		})
	}
}

// FuzzDecode feeds three fields with anything: Decode must not panic, and
// what it takes must come back the same.
func FuzzDecode(f *testing.F) {
	f.Add("active", "2026-09-08T07:06:05Z", "n1=2026-09-08T07:06:05Z n2=")
	f.Add("disconnected", "", "=")
	f.Add("reauth_required", "x", "a=b=c")
	f.Fuzz(func(t *testing.T, status, at, nonces string) {
		fields := fullRecord().Encode()
		fields["status"], fields["expires_at"], fields["used_nonces"] = status, at, nonces
		r, err := connection.Decode(fields)
		if err != nil {
			if !errors.Is(err, connection.ErrCorrupt) {
				t.Errorf("Decode() = %v; want ErrCorrupt", err)
			}
			return
		}
		again, err := connection.Decode(r.Encode())
		if err != nil {
			t.Fatalf("Decode(Encode()) = %v", err)
		}
		if !again.ExpiresAt.Equal(r.ExpiresAt) || again.Status != r.Status || len(again.UsedNonces) != len(r.UsedNonces) {
			t.Error("the record changed on its way")
		}
	})
}
