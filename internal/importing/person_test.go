package importing_test

import (
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/importing"
)

// A connection of a user-level app is pinned to the person whose grant it is.
func TestImportKeepsThePerson(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Importer.App.Settings.UserLevel = true
	b.want(t, of("acme", b.grant), importing.Options{}, "imported")
	stored := b.stored(t, "acme")
	if stored.HubUserID == 0 {
		t.Fatal("the connection is pinned to nobody")
	}
	other := stored.Record
	other.HubUserID, other.WriteID, other.Status = stored.HubUserID+1, "other", "reauth_required"
	if _, err := b.Store.Save(t.Context(), other, stored.Version); err != nil {
		t.Fatal(err)
	}
	b.want(t, of("acme", b.grant), importing.Options{}, "refused: hubId: connection belongs to another person")
}
