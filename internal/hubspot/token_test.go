package hubspot_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	refreshToken = "na1-aaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	accessToken  = "CAccessTokenValue-123_456"
	goodAnswer   = `{"token_type":"bearer","refresh_token":"` + refreshToken + `","access_token":"` + accessToken + `",` +
		`"hub_id":1234567,"scopes":["oauth","crm.objects.contacts.read"],"expires_in":1800,"user_id":42,"token_use":"access_token"}`
)

// endpoint is a token endpoint that answers as told and keeps the forms.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

type request struct {
	path string
	form url.Values
	head http.Header
	uri  string
}

// serve starts an endpoint. The handler sees parsed forms.
func serve(t *testing.T, handler http.HandlerFunc) *endpoint {
	t.Helper()
	e := new(endpoint)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Errorf("parsing form: %v", err)
		}
		e.mu.Lock()
		e.requests = append(e.requests, request{r.URL.Path, r.PostForm, r.Header.Clone(), r.RequestURI})
		e.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (e *endpoint) client() *hubspot.Client {
	return &hubspot.Client{
		HTTP:        e.Client(),
		Endpoints:   hubspot.Endpoints{API: e.URL},
		Credentials: credentials(),
		RedirectURI: redirectURI,
	}
}

func (e *endpoint) seen() []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// secretsSeen are the client secrets of all requests, in order.
func (e *endpoint) secretsSeen() []string {
	var secrets []string
	for _, r := range e.seen() {
		secrets = append(secrets, r.form.Get("client_secret"))
	}
	return secrets
}

func checkGrant(t *testing.T, got hubspot.Grant) {
	t.Helper()
	if got.AccessToken.Reveal() != accessToken || got.RefreshToken.Reveal() != refreshToken ||
		got.HubID != 1234567 || got.UserID != 42 || got.ExpiresIn != 30*time.Minute ||
		!slices.Equal(got.Scopes, []string{"oauth", "crm.objects.contacts.read"}) {
		t.Errorf("grant = %+v with other values than the answer's", got)
	}
}

func checkForm(t *testing.T, got request, want url.Values) {
	t.Helper()
	if got.form.Encode() != want.Encode() {
		t.Errorf("form = %v, want %v", got.form, want)
	}
	if strings.Contains(got.uri, "?") {
		t.Errorf("request URI %q has a query: parameters belong into the body", got.uri)
	}
	if got.head.Get("Authorization") != "" {
		t.Error("request carries an Authorization header: HubSpot takes client_secret_post")
	}
	if accept := got.head.Get("Accept"); accept != "application/json" {
		t.Errorf("Accept = %q", accept)
	}
}

func TestExchangeWithoutVerifier(t *testing.T) {
	e := serve(t, answer(http.StatusOK, goodAnswer))
	if _, err := e.client().Exchange(t.Context(), "na1-code", ""); err != nil {
		t.Fatal(err)
	}
	if form := e.seen()[0].form; form.Has("code_verifier") {
		t.Errorf("an install without PKCE sends code_verifier=%q", form.Get("code_verifier"))
	}
}

func TestExchange(t *testing.T) {
	e := serve(t, answer(200, goodAnswer))
	grant, err := e.client().Exchange(t.Context(), "na1-code", "the-verifier")
	if err != nil {
		t.Fatal(err)
	}
	checkGrant(t, grant)
	requests := e.seen()
	if len(requests) != 1 || requests[0].path != "/oauth/2026-09/token" {
		t.Fatalf("requests = %+v, want one to the dated token endpoint", requests)
	}
	checkForm(t, requests[0], url.Values{
		"grant_type": {"authorization_code"}, "code": {"na1-code"}, "code_verifier": {"the-verifier"},
		"redirect_uri": {redirectURI}, "client_id": {clientID}, "client_secret": {clientSecret},
	})
}

func TestRefresh(t *testing.T) {
	e := serve(t, answer(200, goodAnswer))
	grant, err := e.client().Refresh(t.Context(), secret.New("na1-old"))
	if err != nil {
		t.Fatal(err)
	}
	checkGrant(t, grant)
	requests := e.seen()
	if len(requests) != 1 || requests[0].path != "/oauth/2026-09/token" {
		t.Fatalf("requests = %+v, want one to the dated token endpoint", requests)
	}
	checkForm(t, requests[0], url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"na1-old"},
		"client_id": {clientID}, "client_secret": {clientSecret},
	})
}

func TestRefreshWithoutToken(t *testing.T) {
	e := serve(t, answer(200, goodAnswer))
	_, err := e.client().Refresh(t.Context(), secret.Text{})
	if err == nil || hubspot.Classify(err) != hubspot.ClassTransient {
		t.Errorf("error = %v of class %v, want one that blames neither grant nor app", err, hubspot.Classify(err))
	}
	if n := len(e.seen()); n != 0 {
		t.Errorf("HubSpot was asked %d times", n)
	}
}

func TestAnswers(t *testing.T) {
	with := func(changes ...string) string { return strings.NewReplacer(changes...).Replace(goodAnswer) }
	tests := map[string]struct {
		body     string
		contents string // Content-Type, if not JSON
		refresh  bool   // whether a Refresh takes it
		exchange bool   // whether an Exchange takes it
	}{
		"good":                      {body: goodAnswer, refresh: true, exchange: true},
		"labelled as text":          {body: goodAnswer, contents: "text/plain", refresh: true, exchange: true},
		"refresh without hub_id":    {body: with(`"hub_id":1234567,`, ""), refresh: true},
		"hub_id is 0":               {body: with("1234567", "0"), refresh: true},
		"hub_id is negative":        {body: with("1234567", "-5"), refresh: true},
		"hub_id is a string":        {body: with("1234567", `"x"`), refresh: true},
		"no refresh_token":          {body: with(`"refresh_token":"`+refreshToken+`",`, ""), refresh: true},
		"no scopes":                 {body: with(`"scopes"`, `"other"`), refresh: true, exchange: true},
		"scopes of another type":    {body: with(`["oauth","crm.objects.contacts.read"]`, `[1,null,"a b"]`), refresh: true, exchange: true},
		"token of 512 characters":   {body: with(accessToken, strings.Repeat("a", 512)), refresh: true, exchange: true},
		"empty":                     {body: ""},
		"empty object":              {body: "{}"},
		"array":                     {body: "[]"},
		"null":                      {body: "null"},
		"cut short":                 {body: goodAnswer[:80]},
		"HTML":                      {body: "<html>maintenance</html>", contents: "text/html"},
		"form":                      {body: "access_token=a&refresh_token=b&expires_in=1800", contents: "application/x-www-form-urlencoded"},
		"error with 200":            {body: `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`},
		"no access_token":           {body: with(accessToken, "")},
		"access_token with newline": {body: with(accessToken, `a\nb`)},
		"access_token with space":   {body: with(accessToken, `a b`)},
		"access_token not ASCII":    {body: with(accessToken, `ä`)},
		"access_token too long":     {body: with(accessToken, strings.Repeat("a", 9000))},
		"refresh_token with quote":  {body: with(refreshToken, `a\u0000`)},
		"no expires_in":             {body: with(`"expires_in":1800,`, "")},
		"expires_in is 0":           {body: with("1800", "0")},
		"expires_in is negative":    {body: with("1800", "-1800")},
		"expires_in is a fraction":  {body: with("1800", "0.5")},
		"expires_in is a year":      {body: with("1800", "31536000")},
		"expires_in wraps in int32": {body: with("1800", "-4294965496")},
		"expires_in is enormous":    {body: with("1800", "1e300")},
		"expires_in is text":        {body: with("1800", `"soon"`)},
		"larger than the cap":       {body: with(`{"token_type"`, `{"x":"`+strings.Repeat("a", 70<<10)+`","token_type"`)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contents)
				if tt.contents == "" {
					w.Header().Set("Content-Type", "application/json")
				}
				_, _ = io.WriteString(w, tt.body)
			})
			grant, err := e.client().Refresh(t.Context(), secret.New(refreshToken))
			checkOutcome(t, "Refresh", tt.refresh, grant, err)
			grant, err = e.client().Exchange(t.Context(), "code", "verifier")
			checkOutcome(t, "Exchange", tt.exchange, grant, err)
			if n := len(e.seen()); n != 2 {
				t.Errorf("HubSpot was asked %d times, want once for each", n)
			}
		})
	}
}

func checkOutcome(t *testing.T, call string, good bool, grant hubspot.Grant, err error) {
	t.Helper()
	if good {
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
		if grant.RefreshToken.Reveal() != refreshToken {
			t.Errorf("%s: the refresh token is not kept", call)
		}
		return
	}
	if err == nil {
		t.Errorf("%s took the answer: %+v", call, grant)
		return
	}
	if class := hubspot.Classify(err); class != hubspot.ClassTransient {
		t.Errorf("%s: class %v, want transient: %v", call, class, err)
	}
	checkText(t, err)
}

// checkText fails if an error says more than it may.
func checkText(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, bad := range []string{accessToken, refreshToken, clientSecret, nextSecret, "<html", "maintenance"} {
			if strings.Contains(text, bad) {
				t.Errorf("error text %q holds %q", text, bad)
			}
		}
	}
}

// A permanent redirect was held against the app's configuration once. It is
// nothing that HubSpot's token endpoint answers, as little as a 404.
func TestRedirectIsNotFollowed(t *testing.T) {
	other := serve(t, answer(200, goodAnswer))
	for status, want := range map[int]hubspot.Class{
		301: hubspot.ClassTransient,
		302: hubspot.ClassTransient,
		303: hubspot.ClassTransient,
		307: hubspot.ClassTransient,
		308: hubspot.ClassTransient,
	} {
		e := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		})
		_, err := e.client().Refresh(t.Context(), secret.New(refreshToken))
		if got := hubspot.Classify(err); err == nil || got != want {
			t.Errorf("%d: class %v, want %v: %v", status, got, want, err)
		}
		err = e.client().Revoke(t.Context(), secret.New(refreshToken))
		if got := hubspot.Classify(err); err == nil || got != want {
			t.Errorf("%d on revoke: class %v, want %v: %v", status, got, want, err)
		}
	}
	if n := len(other.seen()); n != 0 {
		t.Errorf("the redirect's target was asked %d times", n)
	}
}

func TestRevoke(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		class  hubspot.Class
		fails  bool
	}{
		"revoked":            {status: 200},
		"no content":         {status: 204},
		"already revoked":    {status: 400, body: `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`},
		"portal deleted":     {status: 400, body: `{"status":"BAD_HUB","message":"missing or unknown hub id","error":"access_denied"}`},
		"wrong client":       {status: 400, body: `{"error":"invalid_client","status":"BAD_CLIENT_SECRET"}`, fails: true, class: hubspot.ClassMisconfigured},
		"endpoint not there": {status: 404, body: `<html>`, fails: true, class: hubspot.ClassTransient},
		"HubSpot down":       {status: 503, fails: true, class: hubspot.ClassTransient},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, answer(tt.status, tt.body))
			err := e.client().Revoke(t.Context(), secret.New(refreshToken))
			if (err != nil) != tt.fails || hubspot.Classify(err) != tt.class {
				t.Errorf("Revoke() = %v of class %v", err, hubspot.Classify(err))
			}
			requests := e.seen()
			if len(requests) != 1 || requests[0].path != "/oauth/2026-09/token/revoke" {
				t.Fatalf("requests = %+v, want one to the dated revoke endpoint", requests)
			}
			checkForm(t, requests[0], url.Values{
				"token": {refreshToken}, "token_type_hint": {"refresh_token"},
				"client_id": {clientID}, "client_secret": {clientSecret},
			})
		})
	}
}

func TestRevokeOfNothing(t *testing.T) {
	e := serve(t, answer(500, ""))
	if err := e.client().Revoke(t.Context(), secret.Text{}); err != nil || len(e.seen()) != 0 {
		t.Errorf("Revoke of an empty token = %v after %d requests, want none of either", err, len(e.seen()))
	}
}
