package apierror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// answer serves e over a real connection.
func answer(t *testing.T, method string, e *apierror.Error) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(e)
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(content)
}

func TestKinds(t *testing.T) {
	for _, tc := range []struct {
		sub        apierror.SubCategory
		status     int
		proxyError string
		retryAfter string
	}{
		{"caller_unauthenticated", 401, "http_request_denied", ""},
		{"caller_forbidden", 403, "http_request_denied", ""},
		{"user_required", 400, "http_request_error", ""},
		{"bad_request", 400, "http_request_error", ""},
		{"endpoint_blocked", 403, "http_request_denied", ""},
		{"frozen", 403, "http_request_denied", ""},
		{"webhook_refused", 401, "http_request_denied", ""},
		{"not_connected", 404, "proxy_internal_response", ""},
		{"reauth_required", 401, "proxy_internal_response", ""},
		{"rate_limited", 429, "http_request_denied", "1"},
		{"store_unavailable", 503, "proxy_internal_error", "1"},
		{"token_unavailable", 503, "proxy_internal_error", "1"},
		{"app_misconfigured", 503, "proxy_configuration_error", ""},
		{"upstream_unreachable", 502, "destination_unavailable", ""},
		{"upstream_timeout", 504, "http_response_timeout", ""},
		{"never_heard_of", 500, "proxy_internal_error", ""},
	} {
		t.Run(string(tc.sub), func(t *testing.T) {
			e := apierror.New(tc.sub, "what happened")
			response, content := answer(t, "GET", e)
			if response.StatusCode != tc.status {
				t.Errorf("status %d, want %d", response.StatusCode, tc.status)
			}
			for name, want := range map[string]string{
				"Content-Type":           "application/json;charset=utf-8",
				"Cache-Control":          "no-store",
				"X-Content-Type-Options": "nosniff",
				"Retry-After":            tc.retryAfter,
				"Proxy-Status":           fmt.Sprintf(`caddy-hubspot; error=%s; details="%s"`, tc.proxyError, tc.sub),
			} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			challenges := len(response.Header.Values("WWW-Authenticate"))
			if (challenges > 0) != (tc.sub == apierror.CallerUnauthenticated) {
				t.Errorf("%d challenges", challenges)
			}
			if !strings.Contains(content, `"subCategory":"`+string(tc.sub)+`"`) {
				t.Errorf("body %s", content)
			}
		})
	}
}

func TestBody(t *testing.T) {
	full := apierror.New(apierror.ReauthRequired, "HubSpot refused <the> grant")
	full.CorrelationID = "7b2f4a0e-0000-4000-8000-000000000000"
	full.Context = map[string][]string{"app": {"hbdev"}, "user": {"acme"}}
	full.Links = map[string]string{"reconnect": "https://app.hubspot.com/oauth/authorize?a=b&c=d"}
	bare := apierror.New(apierror.NotConnected, "no connection")
	bare.CorrelationID = full.CorrelationID
	bare.Context, bare.Links = map[string][]string{}, map[string]string{}
	limited := apierror.NewRateLimited(hubspot.PolicySecondly, 0)
	limited.CorrelationID = full.CorrelationID

	const id = `"correlationId":"7b2f4a0e-0000-4000-8000-000000000000"`
	for _, tc := range []struct {
		name string
		err  *apierror.Error
		want string
	}{
		{"everything", full, `{"status":"error","category":"SIDECAR","subCategory":"reauth_required","message":"HubSpot refused <the> grant",` + id +
			`,"context":{"app":["hbdev"],"user":["acme"]},"links":{"reconnect":"https://app.hubspot.com/oauth/authorize?a=b&c=d"}}`},
		{"the least", bare, `{"status":"error","category":"SIDECAR","subCategory":"not_connected","message":"no connection",` + id + `}`},
		{"rate limited", limited, `{"status":"error","category":"SIDECAR","subCategory":"rate_limited","message":"You have reached your secondly limit.",` + id +
			`,"errorType":"RATE_LIMIT","policyName":"SECONDLY"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, content := answer(t, "POST", tc.err)
			if content != tc.want+"\n" {
				t.Errorf("body\n%s\nwant\n%s", content, tc.want)
			}
			if !json.Valid([]byte(content)) {
				t.Error("not JSON")
			}
		})
	}
}

func TestRateLimited(t *testing.T) {
	for _, tc := range []struct {
		policy     string
		wait       time.Duration
		message    string
		retryAfter string
	}{
		{hubspot.PolicyTenSecondlyRolling, 1200 * time.Millisecond, "You have reached your ten_secondly_rolling limit.", "2"},
		{hubspot.PolicySecondly, time.Millisecond, "You have reached your secondly limit.", "1"},
		{hubspot.PolicyDaily, time.Hour, "You have reached your daily limit.", "3600"},
		{hubspot.PolicySecondly, -time.Second, "You have reached your secondly limit.", "1"},
	} {
		e := apierror.NewRateLimited(tc.policy, tc.wait)
		response, _ := answer(t, "GET", e)
		if got := response.Header.Get("Retry-After"); got != tc.retryAfter || e.Message != tc.message || e.PolicyName != tc.policy {
			t.Errorf("%s %v: Retry-After %q, %q, want %q, %q", tc.policy, tc.wait, got, e.Message, tc.retryAfter, tc.message)
		}
	}
}

func TestRetryAfterIsWholeSecondsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0: "", time.Nanosecond: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90",
	} {
		e := apierror.New(apierror.StoreUnavailable, "x")
		e.RetryAfter = wait
		response, _ := answer(t, "GET", e)
		if got := response.Header.Get("Retry-After"); got != want {
			t.Errorf("%v: Retry-After %q, want %q", wait, got, want)
		}
	}
}

func TestChallenges(t *testing.T) {
	response, _ := answer(t, "GET", apierror.New(apierror.CallerUnauthenticated, "no key"))
	want := []string{`Bearer realm="caddy-hubspot"`, `Basic realm="caddy-hubspot", charset="UTF-8"`}
	if got := response.Header.Values("WWW-Authenticate"); !reflect.DeepEqual(got, want) {
		t.Errorf("WWW-Authenticate %q, want %q", got, want)
	}
}

func TestHeadHasNoBody(t *testing.T) {
	e := apierror.New(apierror.NotConnected, "x")
	recorder := httptest.NewRecorder()
	e.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), "HEAD", "/", nil))
	if recorder.Code != 404 || recorder.Body.Len() != 0 {
		t.Errorf("status %d with %d bytes", recorder.Code, recorder.Body.Len())
	}
	_, content := answer(t, "GET", e)
	if got := recorder.Header().Get("Content-Length"); got != fmt.Sprint(len(content)) {
		t.Errorf("Content-Length %s, want that of a GET, %d", got, len(content))
	}
}

func TestHeadersOfAnotherBodyAreTakenOut(t *testing.T) {
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Encoding", "gzip")
	recorder.Header().Set("ETag", `"x"`)
	recorder.Header().Set("Content-Length", "999999")
	recorder.Header().Set("X-HubSpot-Portal", "1")
	apierror.New(apierror.BadRequest, "x").ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	h := recorder.Header()
	if h.Get("Content-Encoding") != "" || h.Get("ETag") != "" || h.Get("Content-Length") == "999999" || h.Get("X-HubSpot-Portal") != "1" {
		t.Errorf("headers %v", h)
	}
}

func TestProxyStatus(t *testing.T) {
	e := apierror.New(apierror.UpstreamUnreachable, "x")
	e.ProxyError, e.Tries = "connection_refused", 3
	response, _ := answer(t, "GET", e)
	want := `caddy-hubspot; error=connection_refused; details="upstream_unreachable; tries=3"`
	if got := response.Header.Get("Proxy-Status"); got != want {
		t.Errorf("Proxy-Status %s, want %s", got, want)
	}
	e = apierror.New("odd\"\\\r\né", "x")
	response, _ = answer(t, "GET", e)
	want = `caddy-hubspot; error=proxy_internal_error; details="odd\"\\???"`
	if got := response.Header.Get("Proxy-Status"); got != want {
		t.Errorf("Proxy-Status %s, want %s", got, want)
	}
}

func TestErrorIsForTheLogAndNotForTheClient(t *testing.T) {
	cause := errors.New("dialing vault: refused")
	e := apierror.Wrap(apierror.StoreUnavailable, "the store cannot be read", cause)
	e.Context = map[string][]string{"user": {"acme"}}
	var wrapped error = fmt.Errorf("handling: %w", e)
	if found, ok := errors.AsType[*apierror.Error](wrapped); !ok || found != e || !errors.Is(wrapped, cause) {
		t.Error("the error or its cause is not found in the chain")
	}
	if got, want := e.Error(), "store_unavailable: the store cannot be read: dialing vault: refused"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	_, content := answer(t, "GET", e)
	if bytes.Contains([]byte(content), []byte("vault")) {
		t.Errorf("the client sees the cause: %s", content)
	}
}

func TestCorrelationIDs(t *testing.T) {
	a, b := apierror.New(apierror.BadRequest, "x"), apierror.New(apierror.BadRequest, "x")
	if _, err := uuid.Parse(a.CorrelationID); err != nil || a.CorrelationID == b.CorrelationID {
		t.Errorf("correlation ids %q and %q", a.CorrelationID, b.CorrelationID)
	}
}

func TestZeroErrorAnswers(t *testing.T) {
	response, _ := answer(t, "GET", new(apierror.Error))
	if response.StatusCode != 500 || !strings.Contains(response.Header.Get("Proxy-Status"), "error=proxy_internal_error;") {
		t.Errorf("status %d, Proxy-Status %s", response.StatusCode, response.Header.Get("Proxy-Status"))
	}
}

// The log says once what the message was made of.
func TestErrorSaysItsCauseOnce(t *testing.T) {
	t.Parallel()
	if got, want := apierror.Bad(errors.New("the body is odd")).Error(), "bad_request: The body is odd."; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if got, want := apierror.Wrap(apierror.TooBusy, "Come again.", errors.New("no room")).Error(), "too_busy: Come again.: no room"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}
