package relay_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/relay"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// userSettings are what the setting user can be.
var userSettings = map[string]userid.Source{
	"":         {Header: "X-Hubspot-User"},
	"none":     {},
	"globex":   {Constant: "globex"},
	"X-Tenant": {Header: "X-Tenant"},
	"tenant-": {Lookup: func(r *http.Request) string {
		if tenant := r.Header.Get("X-Tenant"); tenant != "" {
			return "tenant-" + tenant
		}
		return ""
	}},
	"query":  {Lookup: func(r *http.Request) string { return r.URL.Query().Get("tenant") }},
	"nobody": {Lookup: func(*http.Request) string { return "" }},
}

func TestWhoseRequestItIs(t *testing.T) { //nolint:tparallel // one relay takes the calls one by one
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, m *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		_, err := w.Write([]byte(jsonAnswer(200, `"`+strings.TrimPrefix(m.first("Authorization"), "Bearer C")+`"`)))
		return err
	})
	h := start(t, sidecartest.Config{API: upstream.url(), Apps: []appconfig.Resolved{sidecartest.Unpaced()}})
	users := []string{"acme", "globex", "a/b", "a%2Fb", "jo@example.com", "é", "{http.request.host}", "tenant-7", "x, y"}
	for _, user := range users {
		h.ConnectAs(user, "C"+user)
	}
	for _, tc := range []struct {
		setting, line string
		header        []string
		want          string
		gone          []string
	}{
		{"", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "acme", []string{"X-HubSpot-User"}},
		{"", "GET /crm/x", []string{"x-hubspot-user:   acme  ", "X-HUBSPOT-USER: acme"}, "acme", []string{"X-HubSpot-User"}},
		{"", "GET /crm/x", []string{"X-HubSpot-User: a%2Fb"}, "a%2Fb", nil},
		{"", "GET /crm/x", []string{"X-HubSpot-User: é"}, "é", nil},
		{"", "GET /crm/x", []string{"X-HubSpot-User: x, y"}, "x, y", nil},
		{"", "GET /crm/x", []string{"X-HubSpot-User: {http.request.host}"}, "{http.request.host}", nil},
		{"", "GET /as/globex/crm/x", []string{"X-HubSpot-User: globex"}, "globex", []string{"X-HubSpot-User"}},
		{"", "GET /as/a%2Fb/crm/x", nil, "a/b", nil},
		{"", "GET /as/jo%40example.com/crm/x", nil, "jo@example.com", nil},
		{"", "GET /as/{http.request.host}/crm/x", nil, "{http.request.host}", nil},
		{"X-Tenant", "GET /crm/x", []string{"X-Tenant: acme", "X-HubSpot-User: globex"}, "acme", []string{"X-Tenant", "X-HubSpot-User"}},
		{"X-Tenant", "GET /crm/x", []string{"X-Tenant: {http.request.host}"}, "{http.request.host}", []string{"X-Tenant"}},
		{"tenant-", "GET /crm/x", []string{"X-Tenant: 7"}, "tenant-7", nil},
		{"query", "GET /crm/x?tenant=%7Bhttp.request.host%7D", nil, "{http.request.host}", nil},
		{"globex", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "globex", []string{"X-HubSpot-User"}},
		{"globex", "GET /as/globex/crm/x", nil, "globex", nil},
		{"none", "GET /as/acme/crm/x", []string{"X-HubSpot-User: globex"}, "acme", []string{"X-HubSpot-User"}},
		{"tenant-", "GET /crm/x", nil, "", nil},
		{"nobody", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "", nil},
		{"X-Tenant", "GET /crm/x", []string{"X-HubSpot-User: acme"}, "", nil},
	} {
		t.Run(tc.setting+" "+tc.line, func(t *testing.T) {
			h.use(func(c *relay.Config) { c.User = userSettings[tc.setting] })
			got := h.raw(tc.line, tc.header...)
			if tc.want == "" {
				wantOwnError(t, got, 400, "user_required")
				return
			}
			if got.Text != `"`+tc.want+`"` {
				t.Errorf("%s for %s, want %q", got.Status, got.Text, tc.want)
			}
			sent := upstream.last(t)
			for _, name := range tc.gone {
				if values := sent.get(name); values != nil {
					t.Errorf("%s went up: %q", name, values)
				}
			}
		})
	}
}

// countingStore counts the readings of records.
type countingStore struct {
	connection.Store
	loads atomic.Int64
}

func (s *countingStore) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	s.loads.Add(1)
	return s.Store.Load(ctx, key)
}

// Users that do not exist cost the store a reading each, of which a caller has
// only so many; users who are in use are served all the same.
func TestUnknownUsersAreBudgeted(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, _ *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		_, err := w.Write([]byte(jsonAnswer(200, "{}")))
		return err
	})
	store := &countingStore{Store: sidecartest.MemoryStore(t)}
	h := start(t, sidecartest.Config{API: upstream.url(), Store: store, Apps: []appconfig.Resolved{sidecartest.Unpaced()}})
	h.ConnectAs("acme", testToken)
	// The budget does not fill up again.
	now := time.Now()
	h.desk(func(c *admission.Config) { c.Now = func() time.Time { return now } })
	h.Get("/crm/x", "acme")
	before := store.loads.Load()
	answers := map[int]int{}
	for i := range 200 {
		answers[h.Get("/crm/x", "nobody-"+strconv.Itoa(i)).StatusCode]++
		answers[h.Get("/crm/x", "acme").StatusCode]++
	}
	if read := store.loads.Load() - before; read != 30 || int64(answers[404]) != read || answers[404]+answers[429] != 200 || answers[200] != 200 {
		t.Errorf("%d readings, answers %v", read, answers)
	}
}
