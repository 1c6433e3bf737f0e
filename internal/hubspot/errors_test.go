package hubspot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	transient     = hubspot.ClassTransient
	dead          = hubspot.ClassDeadGrant
	misconfigured = hubspot.ClassMisconfigured
	badCode       = hubspot.ClassBadCode
	connection    = hubspot.ClassConnection
)

// Only words that name the app speak against the app. What HubSpot refuses in
// other words was held against the app too until it was seen that one account
// can be refused so, for its data centre say, which stopped all others; what
// has no such words is not HubSpot's and speaks of nobody.
func TestFailureClasses(t *testing.T) {
	tests := map[string]struct {
		status   int
		body     string
		refresh  hubspot.Class
		exchange hubspot.Class
	}{
		"dead refresh token":           {400, `{"error":"invalid_grant","error_description":"refresh token is invalid, expired or revoked","status":"BAD_REFRESH_TOKEN","message":"refresh token is invalid, expired or revoked"}`, dead, badCode},
		"dead refresh token, old body": {400, `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token","correlationId":"c0"}`, dead, badCode},
		"dead refresh token, RFC only": {400, `{"error":"invalid_grant"}`, dead, badCode},
		"dead refresh token with 401":  {401, `{"error":"invalid_grant"}`, dead, badCode},
		"deleted portal":               {400, `{"status":"BAD_HUB","message":"missing or unknown hub id","error":"access_denied"}`, dead, badCode},
		"deleted portal, status only":  {400, `{"status":"BAD_HUB","message":"missing or unknown hub id"}`, dead, badCode},
		"deleted portal with 403":      {403, `{"error":"access_denied"}`, dead, badCode},
		"bad code":                     {400, `{"status":"BAD_AUTH_CODE","message":"missing or unknown auth code","error":"invalid_grant"}`, dead, badCode},
		"bad code, old body":           {400, `{"status":"BAD_AUTH_CODE","message":"missing or unknown auth code"}`, connection, badCode},
		"expired code":                 {400, `{"status":"EXPIRED_AUTH_CODE","message":"expired"}`, connection, badCode},
		"code of another redirect":     {400, `{"status":"MISMATCH_REDIRECT_URI_AUTH_CODE","message":"m"}`, connection, badCode},
		"bad verifier":                 {400, `{"status":"BAD_CODE_VERIFIER","message":"m","error":"invalid_request"}`, connection, badCode},
		"bad redirect URI":             {400, `{"status":"BAD_REDIRECT_URI","message":"m"}`, misconfigured, misconfigured},
		"bad redirect URI as grant":    {400, `{"status":"BAD_REDIRECT_URI","error":"invalid_grant"}`, misconfigured, misconfigured},
		"bad client id":                {400, `{"status":"BAD_CLIENT_ID","message":"missing or unknown client id","error":"invalid_client"}`, misconfigured, misconfigured},
		"bad client secret":            {400, `{"status":"BAD_CLIENT_SECRET","message":"missing or invalid client secret","error":"invalid_client"}`, misconfigured, misconfigured},
		"bad client secret, old body":  {400, `{"status":"BAD_CLIENT_SECRET","message":"m"}`, misconfigured, misconfigured},
		"bad client, RFC only":         {401, `{"error":"invalid_client"}`, misconfigured, misconfigured},
		"unauthorized client":          {400, `{"error":"unauthorized_client"}`, misconfigured, misconfigured},
		"client beats grant":           {400, `{"error":"invalid_grant","status":"BAD_CLIENT_SECRET"}`, misconfigured, misconfigured},
		"error beats status":           {400, `{"error":"invalid_client","status":"BAD_REFRESH_TOKEN"}`, misconfigured, misconfigured},
		"bad grant type":               {400, `{"status":"BAD_GRANT_TYPE","error":"unsupported_grant_type"}`, connection, connection},
		"bad scopes":                   {400, `{"status":"BAD_SCOPES"}`, connection, connection},
		"client credentials":           {400, `{"status":"USER_LEVEL_CLIENT_CREDENTIALS_NOT_SUPPORTED"}`, connection, connection},
		"400 without a body":           {400, ``, transient, transient},
		"400 of other types":           {400, `{"error":{"a":1},"status":7}`, connection, connection},
		"401 in API shape":             {401, `{"status":"error","message":"m","category":"INVALID_AUTHENTICATION"}`, connection, connection},
		"403 of the edge":              {403, `<html>maintenance</html>`, transient, transient},
		"404":                          {404, `<html>maintenance</html>`, transient, transient},
		"wrong hublet":                 {400, `{"message":"Hub 5865761 is unknown to this Hublet","correctHublet":"eu1"}`, connection, connection},
		"wrong hublet with 488":        {488, `{"status":"error","message":"Hub 5865761 is unknown to this Hublet, but it appears to exist in Hublet eu1","correlationId":"c0","correctHublet":"eu1"}`, connection, connection},
		"wrong hublet, no dead grant":  {488, `{"error":"invalid_grant","correctHublet":"eu1"}`, connection, connection},
		"no hublet has it":             {488, `{"message":"Hub 1 is unknown to this Hublet and does not appear to exist in any other Hublet"}`, connection, connection},
		"488 without a body":           {488, ``, connection, connection},
		"a bare message":               {400, `{"message":"no"}`, connection, connection},
		"unknown OAuth word":           {400, `{"error":"invalid_request"}`, connection, connection},
		"migration with 400":           {400, `{"message":"Migration in progress and the portal is not available for access."}`, transient, transient},
		"migration that blames others": {403, `{"status":"BAD_HUB","error":"invalid_client","message":"migration in progress"}`, transient, transient},
		// A gateway may answer so, and HubSpot as well: one account's trouble stays
		// its own, and that of many has an alarm.
		"403 of a gateway, perhaps":    {403, `{"message":"Forbidden"}`, connection, connection},
		"404 without known words":      {404, `{"message":"Hub 5 is unknown"}`, connection, connection},
		"409 with an odd status":       {409, `{"status":"CONFLICT_409","message":"Hub 5 twice"}`, connection, connection},
		"400 with errors only":         {400, `{"errors":[{"message":"x"}]}`, connection, connection},
		"404 with nothing":             {404, `{}`, transient, transient},
		"451 with a list":              {451, `["x"]`, transient, transient},
		"401 without words":            {401, ``, transient, transient},
		"407":                          {407, `{"error":"invalid_client"}`, transient, transient},
		"413":                          {413, `<html>maintenance</html>`, transient, transient},
		"451":                          {451, ``, transient, transient},
		"302 of a captive portal":      {302, ``, transient, transient},
		"408":                          {408, ``, transient, transient},
		"423":                          {423, `{"status":"error"}`, transient, transient},
		"425":                          {425, ``, transient, transient},
		"429":                          {429, `{"status":"error","message":"You have reached your secondly limit.","errorType":"RATE_LIMIT","policyName":"SECONDLY"}`, transient, transient},
		"429 that speaks of the grant": {429, `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`, transient, transient},
		"477":                          {477, ``, transient, transient},
		"500":                          {500, `{"status":"error","message":"internal error"}`, transient, transient},
		"500 that speaks of the grant": {500, `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`, transient, transient},
		"502 of the edge":              {502, `<html>maintenance</html>`, transient, transient},
		"503":                          {503, ``, transient, transient},
		"524":                          {524, ``, transient, transient},
		"odd status":                   {600, `{"error":"invalid_grant"}`, transient, transient},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, answer(tt.status, tt.body))
			_, err := e.client().Refresh(t.Context(), secret.New(refreshToken))
			checkClass(t, "Refresh", err, tt.status, tt.refresh)
			_, err = e.client().Exchange(t.Context(), "code", "verifier")
			checkClass(t, "Exchange", err, tt.status, tt.exchange)
			if n := len(e.seen()); n != 2 {
				t.Errorf("HubSpot was asked %d times, want once for each", n)
			}
		})
	}
}

func checkClass(t *testing.T, call string, err error, status int, want hubspot.Class) {
	t.Helper()
	te, ok := errors.AsType[*hubspot.TokenError](err)
	if !ok {
		t.Fatalf("%s: error %T %v, want a TokenError", call, err, err)
	}
	if te.Class != want || te.HTTPStatus != status {
		t.Errorf("%s: class %v with HTTP %d, want %v with %d: %v", call, te.Class, te.HTTPStatus, want, status, err)
	}
	if wrapped := fmt.Errorf("refreshing: %w", err); hubspot.Classify(wrapped) != want {
		t.Errorf("%s: Classify of the wrapped error = %v", call, hubspot.Classify(wrapped))
	}
	checkText(t, err)
}

func TestErrorText(t *testing.T) {
	e := serve(t, answer(400, `{"error":"invalid_grant","error_description":"`+refreshToken+`","status":"BAD_REFRESH_TOKEN","message":"`+clientSecret+`"}`))
	_, err := e.client().Refresh(t.Context(), secret.New(refreshToken))
	want := "calling HubSpot's token endpoint: HTTP 400, invalid_grant, BAD_REFRESH_TOKEN (dead_grant)"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %q", err, want)
	}
	if (&hubspot.TokenError{}).Error() == "" {
		t.Error("the zero TokenError says nothing")
	}
}

func TestRefusalsAreCalledWhatTheyAre(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		text   string
		reason string
	}{
		"HTML":          {403, `<html>maintenance</html>`, "HTTP 403, not an answer of HubSpot's token endpoint: something in between refuses, HubSpot's edge or an egress proxy (transient)", "in_between"},
		"empty":         {451, ``, "HTTP 451, not an answer of HubSpot's token endpoint: something in between refuses, HubSpot's edge or an egress proxy (transient)", "in_between"},
		"proxy":         {407, `{"status":"BAD_CLIENT_ID"}`, "HTTP 407, BAD_CLIENT_ID, not an answer of HubSpot's token endpoint: something in between refuses, HubSpot's edge or an egress proxy (transient)", "in_between"},
		"migration":     {400, `{"message":"Migration in progress and the portal is not available for access."}`, "HTTP 400, HubSpot is moving the account to another data centre (transient)", "account_migrating"},
		"migration 477": {477, ``, "HTTP 477, HubSpot is moving the account to another data centre (transient)", "account_migrating"},
		"wrong hublet":  {400, `{"message":"Hub 5865761 is unknown to this Hublet","correctHublet":"eu1"}`, `HTTP 400, correctHublet eu1, "Hub 5865761 is unknown to this Hublet" (connection)`, "wrong_hublet"},
		"488":           {488, ``, "HTTP 488 (connection)", "wrong_hublet"},
		"odd hublet":    {400, `{"message":"m","correctHublet":"evil.example"}`, `HTTP 400, "m" (connection)`, "connection"},
		"API shape":     {401, `{"status":"error","message":"No, thanks.","category":"INVALID_AUTHENTICATION"}`, `HTTP 401, INVALID_AUTHENTICATION, "No, thanks." (connection)`, "INVALID_AUTHENTICATION"},
		"status":        {400, `{"error":"invalid_scope","error_description":"Wrong!","status":"BAD_SCOPES"}`, `HTTP 400, invalid_scope, BAD_SCOPES, "Wrong!" (connection)`, "BAD_SCOPES"},
		"app":           {400, badSecret, "HTTP 400, invalid_client, BAD_CLIENT_SECRET (misconfigured)", "BAD_CLIENT_SECRET"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, answer(tt.status, tt.body))
			_, err := e.client().Refresh(t.Context(), secret.New(refreshToken))
			te, ok := errors.AsType[*hubspot.TokenError](err)
			if !ok {
				t.Fatalf("error %T %v, want a TokenError", err, err)
			}
			if want := "calling HubSpot's token endpoint: " + tt.text; err.Error() != want {
				t.Errorf("error = %q\n   want %q", err, want)
			}
			if te.Reason() != tt.reason {
				t.Errorf("Reason() = %q, want %q", te.Reason(), tt.reason)
			}
			checkText(t, err)
		})
	}
}

func TestMessagesAreCleaned(t *testing.T) {
	const short = "hunter" // a secret that looks like a word
	tests := map[string]struct{ said, kept string }{
		"plain":         {"Hub 5865761 isn't in (this) Hublet: eu1!", "Hub 5865761 isn't in (this) Hublet: eu1!"},
		"tokens":        {"token " + refreshToken + " and " + accessToken + " of " + clientSecret, "token *** and *** of ***"},
		"short secret":  {"the token " + short + ", quoted '" + short + "'", "the token *** quoted ***"},
		"control bytes": {"a\u001b[2J b\nc\u0000d\u2028e \u00e4", "*** b *** e ***"},
		"addresses":     {"ask alex@example.com at https://evil.example/x?token=1", "ask *** at ***"},
		"too long":      {strings.Repeat("word ", 60), strings.TrimSpace(strings.Repeat("word ", 40)) + " ..."},
		"one long word": {strings.Repeat("a", 9000), "***"},
		"spaces":        {"   ", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(map[string]string{"status": "BAD_SCOPES", "message": tt.said})
			if err != nil {
				t.Fatal(err)
			}
			e := serve(t, answer(400, string(body)))
			_, err = e.client().Refresh(t.Context(), secret.New(short))
			te, ok := errors.AsType[*hubspot.TokenError](err)
			if !ok || te.Message != tt.kept {
				t.Errorf("error = %#v\nwant the message %q", err, tt.kept)
			}
			checkText(t, err)
		})
	}
}

func TestErrorWordsAreSanitised(t *testing.T) {
	for name, body := range map[string]string{
		"tokens as words": `{"error":"` + refreshToken + `","status":"` + accessToken + `"}`,
		"control bytes":   `{"error":"a\u001b[2J","status":"A\nB"}`,
		"too long":        `{"error":"` + strings.Repeat("a", 49) + `","status":"` + strings.Repeat("A", 49) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, answer(400, body))
			_, err := e.client().Refresh(t.Context(), secret.New(refreshToken))
			te, ok := errors.AsType[*hubspot.TokenError](err)
			if !ok || te.Code != "" || te.Status != "" {
				t.Errorf("error = %#v, want a TokenError without words", err)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := map[string]struct {
		header string
		server string // the answer's Date, if not now
		want   time.Duration
	}{
		"none":             {want: 0},
		"seconds":          {header: "7", want: 7 * time.Second},
		"spaces":           {header: " 7 ", want: 7 * time.Second},
		"zero":             {header: "0", want: 0},
		"negative":         {header: "-1", want: 0},
		"garbage":          {header: "soon", want: 0},
		"enormous":         {header: "9999999999", want: 24 * time.Hour},
		"beyond 64 bits":   {header: "99999999999999999999999", want: 24 * time.Hour},
		"date":             {header: date(90 * time.Second), want: 90 * time.Second},
		"date in the past": {header: date(-time.Hour), want: 0},
		"date far off":     {header: date(1000 * time.Hour), want: 24 * time.Hour},
		"other clock":      {header: date(90 * time.Second), server: date(30 * time.Second), want: time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil // not set by the server either
				if tt.server != "" {
					w.Header().Set("Date", tt.server)
				}
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(429)
			})
			client := e.client()
			client.Now = func() time.Time { return now }
			_, err := client.Refresh(t.Context(), secret.New(refreshToken))
			te, ok := errors.AsType[*hubspot.TokenError](err)
			if !ok || te.RetryAfter != tt.want {
				t.Errorf("error = %#v, want RetryAfter %v", err, tt.want)
			}
			if err := client.Revoke(t.Context(), secret.New(refreshToken)); err == nil {
				t.Error("Revoke took a 429")
			}
		})
	}
}

func TestTransportFaults(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	hang := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	cut := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500")
		_, _ = io.WriteString(w, goodAnswer[:50])
	})
	garbage := rawServer(t, "HTTP/1.1 "+accessToken+" <html\r\n\r\n")
	tlsServer := httptest.NewUnstartedServer(answer(200, goodAnswer))
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake is meant to fail
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	tests := map[string]struct {
		api   string
		text  string
		cause error
	}{
		"refused":      {closed.URL, "connection refused", nil},
		"timeout":      {hang.URL, "timed out", context.DeadlineExceeded},
		"cut":          {cut.URL, "cut short", nil},
		"garbage":      {garbage, "connection failed", nil},
		"unknown cert": {tlsServer.URL, "certificate", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := &hubspot.Client{
				HTTP:        &http.Client{Timeout: 5 * time.Second},
				Endpoints:   hubspot.Endpoints{API: tt.api},
				Credentials: credentials(),
			}
			if name == "timeout" {
				client.HTTP.Timeout = 20 * time.Millisecond
			}
			_, err := client.Refresh(t.Context(), secret.New(refreshToken))
			if err == nil || hubspot.Classify(err) != transient || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v of class %v, want a transient one with %q", err, hubspot.Classify(err), tt.text)
			}
			if tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("error %v does not wrap %v", err, tt.cause)
			}
			checkText(t, err)
		})
	}
}

// rawServer answers every connection with the same bytes.
func rawServer(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
			conn.Close()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	for name, call := range map[string]func() error{
		"refresh": func() error { _, err := e.client().Refresh(ctx, secret.New(refreshToken)); return err },
		"revoke":  func() error { return e.client().Revoke(ctx, secret.New(refreshToken)) },
	} {
		err := call()
		if !errors.Is(err, context.Canceled) || hubspot.Classify(err) != transient {
			t.Errorf("%s: error = %v of class %v, want a transient one that wraps context.Canceled", name, err, hubspot.Classify(err))
		}
	}
}
