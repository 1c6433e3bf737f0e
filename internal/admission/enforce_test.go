package admission_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

const trialKey = "trial-key-0123456789-0123"

// What a policy refuses is an answer, or with dry_run a line of the log and a
// count, under the id that is returned.
func TestEnforce(t *testing.T) {
	t.Parallel()
	policy := func(name, key string, dryRun bool) access.CallerConfig {
		return access.CallerConfig{
			Name: name, Keys: []secret.Text{secret.New(key)}, Users: []string{"globex-*"}, DryRun: dryRun,
			Allow: sidecartest.Rules(t, "GET /crm/*"), Deny: sidecartest.Rules(t, "* /crm/*/gdpr-delete"),
		}
	}
	k := sidecartest.New(t, sidecartest.Config{Callers: []access.CallerConfig{
		policy("strict", "strict-key-0123456789-0123", false), policy("trial", trialKey, true),
	}})
	app := k.App("hbdev")
	callerOf := func(key string) *access.Caller {
		caller, err := k.Desk.Authenticate(authorized("Bearer " + key))
		if err != nil {
			t.Fatal(err)
		}
		return caller
	}
	strict, trial := callerOf("strict-key-0123456789-0123"), callerOf(trialKey)
	for _, tc := range []struct {
		name, user, method, path string
		dimension, rule          string
	}{
		{"permitted", "globex-1", "GET", "/crm/x", "", ""},
		{"user", "acme", "GET", "/crm/x", "user", ""},
		{"method", "globex-1", "POST", "/crm/x", "method", ""},
		{"path", "globex-1", "GET", "/files/x", "path", ""},
		{"deny", "globex-1", "GET", "/crm/a/gdpr-delete", "path", "* /crm/*/gdpr-delete"},
		{"two readings", "globex-1", "GET", "/crm/a/../../files/x", "path", ""},
	} {
		refusal := func(c *access.Caller) error {
			readings, err := access.Readings(tc.path)
			if err != nil {
				return err
			}
			return c.Check("hbdev", tc.user, tc.method, readings)
		}
		before := len(k.Logs.String())
		id, err := k.Desk.Enforce(t.Context(), app, strict, tc.user, refusal(strict))
		e, refused := errors.AsType[*apierror.Error](err)
		if refused != (tc.dimension != "") || id != "" {
			t.Errorf("%s: %q, %v", tc.name, id, err)
		}
		if refused && e.SubCategory == apierror.CallerForbidden && e.Context["dimension"][0] != tc.dimension {
			t.Errorf("%s: dimension %v, want %s", tc.name, e.Context["dimension"], tc.dimension)
		}
		if k.Logs.String()[before:] != "" {
			t.Errorf("%s: a refusal is noted as one on trial: %s", tc.name, k.Logs.String()[before:])
		}
		id, err = k.Desk.Enforce(t.Context(), app, trial, tc.user, refusal(trial))
		if err != nil || (id != "") != (tc.dimension != "") {
			t.Errorf("%s on trial: %q, %v", tc.name, id, err)
		}
		if tc.dimension == "" {
			continue
		}
		var line struct {
			Msg, App, Caller, Dimension, Rule string

			UserTag       string `json:"user_tag"`
			CorrelationID string `json:"correlation_id"`
		}
		if err := json.Unmarshal([]byte(k.Logs.String()[before:]), &line); err != nil {
			t.Fatalf("%s: %v in %s", tc.name, err, k.Logs.String()[before:])
		}
		if line.Msg != "dry_run: a request would have been refused" || line.App != "hbdev" || line.Caller != "trial" || line.Dimension != tc.dimension ||
			line.Rule != tc.rule || line.UserTag != app.Manager.Tag(t.Context(), tc.user) || line.CorrelationID != id {
			t.Errorf("%s: %+v", tc.name, line)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	if err := k.Metrics.Register(registry); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	for dimension, n := range map[string]string{"user": "1", "method": "1", "path": "3"} {
		if want := `caddy_hubspot_dry_run_refusals_total{app="hbdev",caller="trial",dimension="` + dimension + `"} ` + n + "\n"; !strings.Contains(rec.Body.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(rec.Body.String(), `caller="strict"`) {
		t.Error("what was refused is counted as if it were on trial")
	}
}
