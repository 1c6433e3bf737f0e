package importing_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// startStatic is a sidecar with a relay for the static app.
func startStatic(t *testing.T, c sidecartest.Config) *bench {
	t.Helper()
	c.Apps = []appconfig.Resolved{sidecartest.Static()}
	k := sidecartest.New(t, c)
	r, err := relay.New(relay.Config{
		App: k.App("reports"), Desk: k.Desk, Metrics: k.Metrics, Logger: k.Logger,
		User: userid.Source{Header: "X-Hubspot-User"}, Transport: k.Transport(),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Serve(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { _ = r.NewCall(w, req, req.RequestURI).Serve() }))
	return &bench{Kit: k, Importer: importing.Importer{App: k.App("reports")}}
}

func staticRecord(user, token string) importfile.Record {
	return importfile.Record{User: user, Token: secret.New(token)}
}

const contacts = "/crm/objects/2026-09/contacts"

// A static token serves until HubSpot refuses it: that 401 passes, the
// connection asks for another token, and an import heals it.
func TestStaticToken(t *testing.T) {
	t.Parallel()
	b := startStatic(t, sidecartest.Config{})
	first := b.StaticToken(sandbox.DemoHubID)
	b.want(t, staticRecord("acme", first), importing.Options{}, "imported (account 62515001)")
	b.want(t, staticRecord("acme", first), importing.Options{Overwrite: true}, "exists")
	for range 2 {
		if got := b.Get(contacts, "acme"); got.StatusCode != 200 || got.Header.Get("X-HubSpot-Portal") != "62515001" {
			t.Fatalf("%s %s", got.Status, got.Text)
		}
	}
	if n := b.Sandbox.Stats().Grants; len(n) != 0 {
		t.Errorf("HubSpot was asked for grants: %+v", n)
	}

	// A 401 of one endpoint ends nothing: HubSpot is asked first.
	b.Fault(`{"api":{"answer":"unauthorized","category":"INVALID_AUTHENTICATION","path_prefix":"/crm/","times":1}}`)
	if got := b.Get(contacts, "acme"); got.StatusCode != 401 || got.Header.Get("Proxy-Status") == "" || strings.Contains(got.Text, "SIDECAR") {
		t.Errorf("HubSpot's 401 does not pass: %s %s", got.Status, got.Text)
	}
	if got := b.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Errorf("after a 401 of one endpoint: %s %s", got.Status, got.Text)
	}
}

func TestStaticTokenEnds(t *testing.T) {
	t.Parallel()
	b := startStatic(t, sidecartest.Config{})
	b.want(t, staticRecord("acme", b.StaticToken(sandbox.DemoHubID)), importing.Options{}, "imported")
	if got := b.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Fatalf("%s %s", got.Status, got.Text)
	}
	b.Fault(`{"revoke_static_tokens":{"hub_id":62515001}}`)
	if got := b.Get(contacts, "acme"); got.StatusCode != 401 || strings.Contains(got.Text, "SIDECAR") {
		t.Errorf("HubSpot's 401 does not pass: %s %s", got.Status, got.Text)
	}
	got := b.Get(contacts, "acme")
	if e := sidecartest.WantOwnError(t, got, 401, "reauth_required"); !strings.Contains(e.Message, "import") || len(e.Links) != 0 {
		t.Errorf("what is said is not for a static app: %+v", e)
	}
	summary, err := b.Importer.App.Manager.Get(t.Context(), "acme")
	if err != nil || summary.Status != connection.StatusReauthRequired || summary.Reason != connection.ReasonTokenRefused {
		t.Errorf("%+v, %v", summary, err)
	}
	if _, err := b.Importer.App.Manager.ForceRefresh(t.Context(), "acme"); !errors.Is(err, connection.ErrReauthRequired) {
		t.Errorf("refreshing it: %v", err)
	}
	b.want(t, staticRecord("acme", b.StaticToken(sandbox.DemoLimitedHubID)), importing.Options{}, "refused: hubId")
	b.want(t, staticRecord("acme", b.StaticToken(sandbox.DemoHubID)), importing.Options{}, "imported")
	if got := b.Get(contacts, "acme"); got.StatusCode != 200 {
		t.Errorf("after the import: %s %s", got.Status, got.Text)
	}
	if _, err := b.Importer.App.Manager.ForceRefresh(t.Context(), "acme"); !errors.Is(err, connection.ErrStatic) {
		t.Errorf("refreshing it: %v", err)
	}
	receipt, err := b.Importer.App.Manager.Disconnect(t.Context(), "acme", connection.DisconnectOptions{})
	if err != nil || receipt.Revoked != connection.OutcomeRefused || !receipt.Destroyed {
		t.Errorf("disconnecting: %+v, %v", receipt, err)
	}
	sidecartest.WantOwnError(t, b.Get(contacts, "acme"), 404, "not_connected")
}

func TestStaticImportIsHeldAgainstHubSpot(t *testing.T) {
	t.Parallel()
	b := startStatic(t, sidecartest.Config{})
	b.want(t, staticRecord("acme", "pat-na1-unknown"), importing.Options{}, "refused: token: HubSpot does not take it")
	b.want(t, importfile.Record{User: "acme", RefreshToken: secret.New("r")}, importing.Options{}, "refused: refreshToken: the app reports is a static app")
	contradicts := staticRecord("acme", b.StaticToken(sandbox.DemoHubID))
	contradicts.HubID = 7
	b.want(t, contradicts, importing.Options{}, "refused: hubId: is 7, and HubSpot says that the token is of account 62515001")

	// While HubSpot is away, a record that says its account is taken as it is.
	away := startStatic(t, sidecartest.Config{API: "http://127.0.0.1:1"})
	if result, err := away.Import(t.Context(), staticRecord("acme", "pat-1"), importing.Options{}); !errors.Is(err, importing.ErrHubSpotAway) {
		t.Errorf("%v, %v", result, err)
	}
	said := staticRecord("acme", "pat-1")
	said.HubID = 7
	away.want(t, said, importing.Options{}, "imported (account 7)")
	if strings.Contains(away.Logs.String()+b.Logs.String(), "pat-") {
		t.Error("a token is in the log")
	}
}
