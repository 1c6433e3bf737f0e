package connection_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// tokenEndpoint stands where HubSpot's token endpoint is, below the real
// client. It answers every refresh with a good grant but that of the sick.
type tokenEndpoint struct {
	mu    sync.Mutex
	sick  func() (status int, body string) // nil when it is well again
	tries map[string]int
}

func (p *tokenEndpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(form))
	if err != nil {
		return nil, err
	}
	token := values.Get("refresh_token")
	time.Sleep(200 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries[token]++
	status, body := 200, fmt.Sprintf(`{"access_token":"access-%s-%d","refresh_token":"%s","expires_in":1800,"hub_id":1}`, token, p.tries[token], token)
	if token == "of-sick" && p.sick != nil {
		status, body = p.sick()
	}
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (p *tokenEndpoint) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick = nil
}

func (p *tokenEndpoint) count(token string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tries[token]
}

// ward is six healthy users and a sick one of one app.
type ward struct {
	*bench
	endpoint *tokenEndpoint
	healthy  []string
}

// inWard runs f in a bubble of fake time, in which HubSpot answers the sick
// user's refreshes with status and body.
func inWard(t *testing.T, status int, body string, f func(t *testing.T, w *ward)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		endpoint := &tokenEndpoint{
			sick:  func() (int, string) { return status, body },
			tries: make(map[string]int),
		}
		store, events := newMemStore(), &recorder{}
		m := connection.NewManager(connection.Config{App: app, Store: store, Observer: events, Provider: &hubspot.Client{
			HTTP:        &http.Client{Transport: endpoint},
			Credentials: hubspot.StaticCredentials{ClientID: "id", Secret: secret.New("client secret")},
		}})
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		w := &ward{bench: &bench{Manager: m, store: store, events: events}, endpoint: endpoint}
		w.connect(t, "sick", "of-sick", 1)
		for i := range 6 {
			user := fmt.Sprint("healthy", i)
			w.healthy = append(w.healthy, user)
			w.connect(t, user, "of-"+user, 1)
		}
		f(t, w)
	})
}

// use calls for all users every ten seconds for d, the sick one first.
func (w *ward) use(t *testing.T, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Second) {
		// The sick user's callers wait for a while; nobody waits for them.
		go func() { _, _ = w.Token(t.Context(), "sick") }()
		synctest.Wait()
		for _, user := range w.healthy {
			if _, err := w.Token(t.Context(), user); err != nil {
				t.Fatalf("Token(%s) = %v; want no trouble from the sick one's", user, err)
			}
		}
	}
}

// sickAnswers are what HubSpot, or something in between, answers to one user.
var sickAnswers = map[string]struct {
	status int
	body   string
	// reason is that of the events; own says that it is the connection's
	// own trouble, and app that it speaks of the app.
	reason   string
	own, app bool
}{
	"wrong hublet":         {400, `{"message":"Hub 5 is unknown to this Hublet","correctHublet":"eu1"}`, "wrong_hublet", true, false},
	"wrong hublet, 488":    {488, `{"status":"error","message":"Hub 5 is unknown to this Hublet, but it appears to exist in Hublet eu1","correctHublet":"eu1"}`, "wrong_hublet", true, false},
	"unknown status":       {400, `{"status":"BAD_MOOD","message":"not today"}`, "BAD_MOOD", true, false},
	"unknown error":        {400, `{"error":"invalid_request"}`, "invalid_request", true, false},
	"API shape":            {403, `{"status":"error","message":"m","category":"BANNED"}`, "BANNED", true, false},
	"bare message":         {400, `{"message":"no"}`, "connection", true, false},
	"migration":            {400, `{"message":"Migration in progress and the portal is not available for access."}`, "account_migrating", false, false},
	"migration, 477":       {477, ``, "account_migrating", false, false},
	"HTML 403 of an edge":  {403, `<html>blocked</html>`, "in_between", false, false},
	"404":                  {404, `<html>not found</html>`, "in_between", false, false},
	"407 of a proxy":       {407, ``, "in_between", false, false},
	"413":                  {413, `<html>too large</html>`, "in_between", false, false},
	"451":                  {451, ``, "in_between", false, false},
	"empty 400":            {400, ``, "in_between", false, false},
	"redirect":             {308, ``, "in_between", false, false},
	"locked":               {423, `{"status":"error"}`, "transient", false, false},
	"down":                 {503, `<html>down</html>`, "transient", false, false},
	"invalid client":       {400, `{"error":"invalid_client"}`, "invalid_client", true, true},
	"unauthorized client":  {400, `{"error":"unauthorized_client"}`, "unauthorized_client", true, true},
	"bad client secret":    {400, `{"error":"invalid_client","status":"BAD_CLIENT_SECRET"}`, "BAD_CLIENT_SECRET", true, true},
	"bad redirect address": {400, `{"status":"BAD_REDIRECT_URI"}`, "BAD_REDIRECT_URI", true, true},
}

func TestOneSickConnectionAmongHealthyOnes(t *testing.T) {
	for name, tt := range sickAnswers {
		t.Run(name, func(t *testing.T) {
			inWard(t, tt.status, tt.body, func(t *testing.T, w *ward) {
				w.use(t, 3*time.Hour)
				for _, user := range w.healthy {
					if n := w.endpoint.count("of-" + user); n < 7 || n > 13 {
						t.Errorf("%s was refreshed %d times in 3 h; want 7 to 12, by the clock", user, n)
					}
				}
				if n := w.endpoint.count("of-sick"); n < 30 || tt.own && n > 250 {
					t.Errorf("%d tries for the sick one in 3 h", n)
				}
				w.wantErr(t, "sick", connection.ErrTokenUnavailable)
				if got := w.store.get("sick"); got.Status != connection.StatusActive || got.Claim != nil {
					t.Errorf("the sick one has status %q, claim %v", got.Status, got.Claim)
				}
				w.checkAlarms(t, tt.own, tt.app, tt.reason)

				w.endpoint.heal()
				time.Sleep(3 * time.Minute)
				if _, err := w.Token(t.Context(), "sick"); err != nil {
					t.Errorf("Token() of the one who is well again = %v", err)
				}
				if cleared := w.events.count(connection.EventConnectionAlarmCleared); (cleared == 1) != tt.own || w.Troubled() != 0 {
					t.Errorf("%d alarms cleared, %d left", cleared, w.Troubled())
				}
			})
		})
	}
}

// checkAlarms wants one alarm of the connection if the trouble is its own,
// and none of the app unless HubSpot spoke of the app.
func (w *ward) checkAlarms(t *testing.T, own, app bool, reason string) {
	t.Helper()
	if n := w.events.count(connection.EventConnectionAlarm); (n == 1) != own || n > 1 || w.Troubled() != n {
		t.Errorf("%d alarms of connections, %d counted; want one: %v", n, w.Troubled(), own)
	}
	if n := w.events.count(connection.EventAppAlarm); (n == 1) != app || n > 1 || len(w.Alarms()) != 0 {
		t.Errorf("%d alarms of the app, %v last; want one that is over: %v", n, w.Alarms(), app)
	}
	for _, e := range w.events.all() {
		switch e.Kind {
		case connection.EventRefreshFailed, connection.EventConnectionAlarm:
			if e.Reason != reason || e.Err == nil || e.Tag == "" {
				t.Fatalf("%s has reason %q, error %v; want reason %q", e.Kind, e.Reason, e.Err, reason)
			}
		}
	}
}

func TestASickConnectionWithoutATokenKeepsNobodyWaiting(t *testing.T) {
	for name, tt := range sickAnswers {
		if tt.app {
			continue // the app rests until another connection has shown that it is well
		}
		t.Run(name, func(t *testing.T) {
			inWard(t, tt.status, tt.body, func(t *testing.T, w *ward) {
				time.Sleep(time.Hour) // all tokens have run out
				w.use(t, time.Minute)
			})
		})
	}
}

// An app that one connection says is refused rests until another has shown
// that it is well; those that have no token wait for that, once.
func TestAnAppRefusedToOneConnectionRestsOnce(t *testing.T) {
	for name, tt := range sickAnswers {
		if !tt.app {
			continue
		}
		t.Run(name, func(t *testing.T) {
			inWard(t, tt.status, tt.body, func(t *testing.T, w *ward) {
				time.Sleep(time.Hour) // all tokens have run out
				w.wantErr(t, "sick", connection.ErrAppMisconfigured)
				w.call(t, 35*time.Second, append([]string{"sick"}, w.healthy...)...)
				w.use(t, 2*time.Hour)
			})
		})
	}
}

func TestManyRefusedConnectionsAreAnAlarmOfTheApp(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		sick := func(token string) bool { return strings.HasPrefix(token, "sick") }
		b.provider.set(func() {
			b.provider.answers = func(token string) (grant hubspot.Grant, err error) {
				if sick(token) {
					return grant, &hubspot.TokenError{Class: hubspot.ClassConnection, HTTPStatus: 400, Status: "BAD_MOOD"}
				}
				return grant, nil
			}
		})
		for i := range 10 {
			b.connect(t, fmt.Sprint("sick", i), fmt.Sprint("sick", i), 1)
		}
		time.Sleep(time.Hour)
		for i := range 10 {
			if got, want := len(b.Alarms()), 0; i == 5 && got != want {
				t.Errorf("an alarm of the app for %d connections", i)
			}
			b.wantErr(t, fmt.Sprint("sick", i), connection.ErrTokenUnavailable)
		}
		if _, lasts := b.Alarms()[connection.AlarmManyRefused]; !lasts || b.events.count(connection.EventAppAlarm) != 1 {
			t.Errorf("alarms %v after ten connections were refused; want many_refused once", b.Alarms())
		}
		if _, err := b.Token(t.Context(), "acme"); err != nil {
			t.Errorf("Token() of a healthy one during the alarm = %v; nothing pauses", err)
		}
		sick = func(string) bool { return false }
		for i := range 10 {
			b.provider.set(func() { b.provider.valid[fmt.Sprint("sick", i)] = true })
		}
		time.Sleep(3 * time.Minute)
		for i := range 10 {
			if _, err := b.Token(t.Context(), fmt.Sprint("sick", i)); err != nil {
				t.Errorf("Token() after the incident = %v", err)
			}
		}
		if len(b.Alarms()) != 0 || b.events.count(connection.EventAppAlarmCleared) != 1 {
			t.Errorf("alarms %v after the incident; want none", b.Alarms())
		}
	})
}

func TestTroubleEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *ward){
		"with an install": func(t *testing.T, w *ward) {
			w.connect(t, "sick", "of-well", 1)
			w.want(t, "sick", "first-of-well")
		},
		"with a refresh by another process": func(t *testing.T, w *ward) {
			w.store.set(func(r *connection.Record) {
				r.AccessToken = secret.New("of another")
				r.IssuedAt, r.ExpiresAt = time.Now(), time.Now().Add(30*time.Minute)
			}, "sick")
			time.Sleep(3 * time.Minute)
			w.want(t, "sick", "of another")
		},
		"with a disconnect": func(t *testing.T, w *ward) {
			w.endpoint.heal() // revoking it works
			if _, err := w.Disconnect(t.Context(), "sick", connection.DisconnectOptions{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWard(t, 488, "", func(t *testing.T, w *ward) {
				time.Sleep(time.Hour)
				begun := time.Now()
				_, err := w.Token(t.Context(), "sick")
				if !errors.Is(err, connection.ErrTokenUnavailable) || hubspot.Classify(err) != hubspot.ClassConnection {
					t.Fatalf("Token() = %v; want what HubSpot said of the connection", err)
				}
				if w.Troubled() != 1 {
					t.Fatalf("%d connections in trouble; want 1", w.Troubled())
				}
				shown, err := w.Get(t.Context(), "sick")
				if err != nil || shown.Alarm != "wrong_hublet" || shown.AlarmSince.Before(begun) || shown.AlarmSince.After(time.Now()) {
					t.Errorf("Get() = alarm %q since %s, %v", shown.Alarm, shown.AlarmSince, err)
				}
				end(t, w)
				if shown, err := w.Get(t.Context(), "sick"); err == nil && shown.Alarm != "" {
					t.Errorf("Get() still shows the alarm %q", shown.Alarm)
				}
				if w.Troubled() != 0 || w.events.count(connection.EventConnectionAlarmCleared) != 1 {
					t.Error("the connection's alarm was not cleared")
				}
			})
		})
	}
}
