package importing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// other is a second app of the sandbox.
func other() appconfig.Resolved {
	app := sidecartest.App()
	app.Name, app.ClientID, app.RedirectURI = "other", "5a4db0c5-0000-4000-8000-0000000000ff", "http://localhost/hubspot/other/callback"
	return app
}

// bench has a grant of each app that no connection here stands on: it was made
// elsewhere.
type bench struct {
	*sidecartest.Kit
	importing.Importer
	grant connection.Record
}

func newBench(t *testing.T) *bench {
	t.Helper()
	own := sidecartest.App()
	apps, err := sandbox.Register([]appconfig.Resolved{own, other()})
	if err != nil {
		t.Fatal(err)
	}
	k := sidecartest.New(t, sidecartest.Config{
		Apps: []appconfig.Resolved{own, other()}, Sandbox: sandbox.Options{Apps: apps}, Audit: true,
	})
	b := &bench{Kit: k, Importer: importing.Importer{App: k.App("hbdev"), Audit: k.Audit}}
	b.grant = b.elsewhere(t, "elsewhere", sandbox.DemoHubID)
	return b
}

// elsewhere makes a grant that another system has.
func (b *bench) elsewhere(t *testing.T, user string, hubID int64) connection.Record {
	t.Helper()
	b.ConnectInSandbox(user, hubID)
	return b.stored(t, user).Record
}

func (b *bench) stored(t *testing.T, user string) connection.Versioned {
	t.Helper()
	v, err := b.Store.Load(t.Context(), connection.Key{App: "hbdev", User: user})
	if err != nil {
		t.Fatalf("loading %s: %v", user, err)
	}
	return v
}

// of is a record for user with the grant of r.
func of(user string, r connection.Record) importfile.Record {
	return importfile.Record{User: user, RefreshToken: r.RefreshToken}
}

func (b *bench) want(t *testing.T, r importfile.Record, o importing.Options, want string) {
	t.Helper()
	result, err := b.Import(t.Context(), r, o)
	if err != nil || !strings.Contains(result.String(), want) {
		t.Errorf("importing %s with %+v: %v, %v; want %s", r.User, o, result, err, want)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(t, of("acme", b.grant), importing.Options{DryRun: true}, "imported (account 62515001)")
	if _, err := b.Store.Load(t.Context(), connection.Key{App: "hbdev", User: "acme"}); !errors.Is(err, connection.ErrNotFound) {
		t.Fatalf("a dry run has stored something: %v", err)
	}
	refreshes := b.Sandbox.Stats().Grants[0].Refreshes
	b.want(t, of("acme", b.grant), importing.Options{}, "imported (account 62515001)")
	if got := b.Sandbox.Stats().Grants[0].Refreshes; got != refreshes {
		t.Errorf("an import refreshes: %d, was %d", got, refreshes)
	}
	before := b.stored(t, "acme")
	b.want(t, of("acme", b.grant), importing.Options{}, "exists")
	b.want(t, of("acme", b.grant), importing.Options{Overwrite: true}, "exists")
	if after := b.stored(t, "acme"); after.Version != before.Version {
		t.Errorf("running it again has written version %d, was %d", after.Version, before.Version)
	}
	token, err := b.Importer.App.Manager.Token(t.Context(), "acme")
	if err != nil || token.HubID != sandbox.DemoHubID || len(token.Scopes) == 0 {
		t.Errorf("using it: %v %v", token, err)
	}
	lines := b.WaitForAuditLines(b.AuditFile, 1)
	if lines[0].Kind != audit.KindImport || lines[0].Portal != sandbox.DemoHubID || lines[0].UserTag != b.Importer.App.Manager.Tag(t.Context(), "acme") || lines[0].Status != 201 {
		t.Errorf("audit line %+v", lines[0])
	}
}

// What HubSpot says of a token counts, and a record that says otherwise is
// refused.
func TestImportIsHeldAgainstHubSpot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	foreign := importing.Importer{App: b.Kit.App("other")}
	if result, err := foreign.Import(t.Context(), of("acme", b.grant), importing.Options{}); err != nil || result.Field != importfile.FieldRefreshToken {
		t.Errorf("another app's token: %v, %v", result, err)
	}
	contradicts := of("acme", b.grant)
	contradicts.HubID = sandbox.DemoLimitedHubID
	b.want(t, contradicts, importing.Options{}, "refused: hubId: is 145700002, and HubSpot says that the refreshToken is of account 62515001")
	b.want(t, importfile.Record{User: "acme", RefreshToken: secret.New("na1-unknown")}, importing.Options{}, "refused: refreshToken: HubSpot does not know it")
	b.want(t, importfile.Record{User: "acme", Token: secret.New("pat-na1-1")}, importing.Options{}, "refused: token: the app hbdev is no static app")

	limited := b.elsewhere(t, "limited", sandbox.DemoLimitedHubID)
	mixed := of("acme", b.grant)
	mixed.AccessToken = limited.AccessToken
	b.want(t, mixed, importing.Options{}, "refused: accessToken: is of another account (145700002) than the refreshToken (62515001)")

	b.Fault(`{"revoke":{"hub_id":145700002}}`)
	b.want(t, of("acme", limited), importing.Options{}, "refused: refreshToken: HubSpot does not know it")
	if _, err := b.Store.Load(t.Context(), connection.Key{App: "hbdev", User: "acme"}); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("something was stored: %v", err)
	}
	b.want(t, of("acme", b.grant), importing.Options{}, "imported")
	for _, leaked := range []string{b.grant.RefreshToken.Reveal(), limited.AccessToken.Reveal()} {
		if strings.Contains(b.Logs.String(), leaked) {
			t.Error("a token is in the log")
		}
	}
}

// An access token that lives is used as long as it does; one that has run out,
// or never was one, costs a refresh and nothing else.
func TestImportOfAccessTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	lives := of("lives", b.grant)
	lives.AccessToken, lives.ExpiresAt = b.grant.AccessToken, b.grant.ExpiresAt
	b.want(t, lives, importing.Options{}, "imported")
	if token, err := b.Importer.App.Manager.Token(t.Context(), "lives"); err != nil || !token.Access.Equal(b.grant.AccessToken) {
		t.Errorf("the access token that was imported is not used: %v", err)
	}
	expired := of("expired", b.grant)
	expired.AccessToken, expired.ExpiresAt = secret.New("C-expired"), time.Now().Add(-time.Hour)
	b.want(t, expired, importing.Options{}, "imported")
	unknown := of("unknown", b.grant)
	unknown.AccessToken = secret.New("C-unknown")
	b.want(t, unknown, importing.Options{}, "imported")
	for _, user := range []string{"expired", "unknown"} {
		if stored := b.stored(t, user); !stored.AccessToken.IsZero() {
			t.Errorf("%s has an access token that HubSpot does not know", user)
		}
		if _, err := b.Importer.App.Manager.Token(t.Context(), user); err != nil {
			t.Errorf("using %s: %v", user, err)
		}
	}
}

func TestImportOverWhatIsThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	limited := b.elsewhere(t, "limited", sandbox.DemoLimitedHubID)

	// Live: left alone, and replaced within its account if that is said.
	b.ConnectAs("live", "C-live")
	b.want(t, of("live", b.grant), importing.Options{}, "exists")
	b.want(t, of("live", b.grant), importing.Options{Overwrite: true}, "refused: hubId: connection belongs to another portal: 4711; disconnect")

	// Ended at HubSpot's side: replaced, within its account.
	end := func(user string) {
		stored := b.stored(t, user)
		r := stored.Record
		r.Status, r.Reason, r.WriteID = connection.StatusReauthRequired, "BAD_REFRESH_TOKEN", "w"+user
		r.RefreshToken = secret.New("na1-dead")
		if _, err := b.Store.Save(t.Context(), r, stored.Version); err != nil {
			t.Fatal(err)
		}
	}
	b.want(t, of("ended", b.grant), importing.Options{}, "imported")
	end("ended")
	b.want(t, of("ended", limited), importing.Options{}, "refused: hubId")
	b.want(t, of("ended", b.grant), importing.Options{}, "imported")
	if stored := b.stored(t, "ended"); stored.Status != connection.StatusActive || stored.Reason != "" {
		t.Errorf("after the import: %s %s", stored.Status, stored.Reason)
	}

	// Disconnected here: comes back only if that is said.
	tomb := connection.Record{Key: connection.Key{App: "hbdev", User: "gone"}, Status: connection.StatusDisconnected, HubID: 1, WriteID: "w"}
	if _, err := b.Store.Save(t.Context(), tomb, 0); err != nil {
		t.Fatal(err)
	}
	b.want(t, of("gone", b.grant), importing.Options{}, "refused: userForeignIdentifier: was disconnected here")
	b.want(t, of("gone", b.grant), importing.Options{Overwrite: true}, "imported")
}

// What is no fault of a record is an error, and the record can be given again.
func TestImportWithoutHubSpot(t *testing.T) {
	t.Parallel()
	wrong := sidecartest.App()
	wrong.ClientSecret = secret.New("wrong")
	for name, tt := range map[string]struct {
		config  sidecartest.Config
		problem importing.Problem
		err     error
	}{
		"away":          {sidecartest.Config{API: "http://127.0.0.1:1"}, importing.ProblemHubSpot, importing.ErrHubSpotAway},
		"misconfigured": {sidecartest.Config{Apps: []appconfig.Resolved{wrong}}, importing.ProblemApp, connection.ErrAppMisconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := sidecartest.New(t, tt.config)
			i := importing.Importer{App: k.App("hbdev")}
			records := []importfile.Record{{User: "a", RefreshToken: secret.New("r1")}, {User: "b", RefreshToken: secret.New("r2")}}
			results, err := i.Batch(t.Context(), records, importing.Options{})
			if len(results) != 0 || !errors.Is(err, tt.err) || importing.ProblemOf(err) != tt.problem || tt.problem.Passes() != (name == "away") {
				t.Errorf("%v, %v", results, err)
			}
			if strings.Contains(err.Error(), "r1") {
				t.Errorf("the error shows a token: %v", err)
			}
		})
	}
}

// An import waits for the app's turn at the token endpoint, and the time of a
// request ends it.
func TestImportKeepsToTheRefreshQuota(t *testing.T) {
	t.Parallel()
	app := sidecartest.App()
	app.RefreshQuota = appconfig.Rate{Count: 1, Per: time.Hour}
	k := sidecartest.New(t, sidecartest.Config{Apps: []appconfig.Resolved{app}})
	i := importing.Importer{App: k.App("hbdev")}
	records := []importfile.Record{{User: "a", RefreshToken: secret.New("r1")}, {User: "b", RefreshToken: secret.New("r2")}}
	if result, err := i.Import(t.Context(), records[0], importing.Options{}); err != nil || result.Outcome != importing.Refused {
		t.Fatalf("%v, %v", result, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	results, err := i.Batch(ctx, records[1:], importing.Options{})
	if len(results) != 0 || importing.ProblemOf(err) != importing.ProblemTime {
		t.Errorf("%v, %v", results, err)
	}
}

func TestBatchKeepsTheOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var records []importfile.Record
	for _, user := range []string{"a", "b", "c", "d", "e"} {
		records = append(records, of(user, b.grant))
	}
	records[2].RefreshToken = secret.New("na1-unknown")
	for _, want := range []importing.Outcome{importing.Imported, importing.Exists} {
		results, err := b.Batch(t.Context(), records, importing.Options{})
		if err != nil || len(results) != 5 {
			t.Fatalf("%v, %v", results, err)
		}
		for n, result := range results {
			if expected := map[bool]importing.Outcome{true: importing.Refused, false: want}[n == 2]; result.Outcome != expected {
				t.Errorf("record %d: %v, want %v", n, result, expected)
			}
		}
	}
}
