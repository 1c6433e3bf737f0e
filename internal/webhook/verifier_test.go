package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
)

const publicURL = "https://app.example.com/hubspot/webhooks"

var (
	inUse = secret.New("the-secret-in-use-000000")
	next  = secret.New("the-secret-that-is-next-0")
)

func newVerifier(versions ...hubspot.SignatureVersion) *webhook.Verifier {
	if len(versions) == 0 {
		versions = []hubspot.SignatureVersion{hubspot.SignatureV3}
	}
	return &webhook.Verifier{
		App: "hbdev", Versions: versions, Replays: webhook.NewReplays(),
		URL: func(*http.Request) string { return publicURL },
		Credentials: func(context.Context) (hubspot.Credentials, error) {
			return hubspot.Credentials{ClientID: "id", Secret: inUse, NextSecret: next}, nil
		},
	}
}

// signed is a request that HubSpot has signed at a time.
func signed(body string, at time.Time, key secret.Text) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/hubspot/webhooks", strings.NewReader(body))
	hubspot.SignHeader(r.Header, hubspot.Signed{
		Method: http.MethodPost, URL: publicURL, Body: []byte(body), Timestamp: strconv.FormatInt(at.UnixMilli(), 10),
	}, key)
	return r
}

// signedOld is one with a signature of version 1 or 2.
func signedOld(method, body string, version hubspot.SignatureVersion) *http.Request {
	r := httptest.NewRequest(method, "/hubspot/webhooks", strings.NewReader(body))
	s := hubspot.Signed{Method: method, URL: publicURL, Body: []byte(body)}
	r.Header.Set(hubspot.HeaderSignature, s.Sign(version, inUse))
	r.Header.Set(hubspot.HeaderSignatureVersion, string(version))
	return r
}

func verify(v *webhook.Verifier, r *http.Request) (*webhook.Verified, error) {
	return v.Verify(httptest.NewRecorder(), r)
}

func wantReason(t *testing.T, what string, err error, want webhook.Reason) {
	t.Helper()
	if got := webhook.ReasonOf(err); got != want || want == "" && err != nil {
		t.Errorf("%s: refused for %q (%v); want %q", what, got, err, want)
	}
}

func TestBothSecretsAreTaken(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	var used []secret.Text
	v.UsedSecret = func(key secret.Text) { used = append(used, key) }
	for _, key := range []secret.Text{inUse, next} {
		got, err := verify(v, signed("[]", time.Now(), key))
		if err != nil || string(got.Body) != "[]" || got.Version != hubspot.SignatureV3 {
			t.Errorf("Verify = %+v, %v; want the body", got, err)
		}
	}
	if len(used) != 2 || !used[0].Equal(inUse) || !used[1].Equal(next) {
		t.Error("UsedSecret was not told the secrets in their order")
	}
	_, err := verify(v, signed("[]", time.Now(), secret.New("another-secret")))
	wantReason(t, "another secret", err, webhook.ReasonSignature)
	if e, ok := errors.AsType[*apierror.Error](err); !ok || e.Status != 401 || strings.Contains(e.Error(), "secret-") {
		t.Errorf("the answer is %v; want a 401 without a secret", err)
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			off  time.Duration
			want webhook.Reason
		}{
			{0, ""}, {5 * time.Minute, ""}, {-5 * time.Minute, ""},
			{5*time.Minute + time.Millisecond, webhook.ReasonTimestamp}, {-5*time.Minute - time.Millisecond, webhook.ReasonTimestamp},
			{-24 * time.Hour, webhook.ReasonTimestamp},
		} {
			_, err := verify(newVerifier(), signed("[]", time.Now().Add(tc.off), inUse))
			wantReason(t, tc.off.String(), err, tc.want)
		}
		for _, text := range []string{"", "NaN", "-1", "1e12", " 1", "99999999999999999999", "0"} {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("[]"))
			hubspot.SignHeader(r.Header, hubspot.Signed{Method: "POST", URL: publicURL, Body: []byte("[]"), Timestamp: text}, inUse)
			_, err := verify(newVerifier(), r)
			wantReason(t, "timestamp "+text, err, webhook.ReasonTimestamp)
		}
		for what, change := range map[string]func(http.Header){
			"none": func(h http.Header) { h.Del(hubspot.HeaderTimestamp) },
			"two":  func(h http.Header) { h.Add(hubspot.HeaderTimestamp, h.Get(hubspot.HeaderTimestamp)) },
		} {
			r := signed("[]", time.Now(), inUse)
			change(r.Header)
			_, err := verify(newVerifier(), r)
			wantReason(t, what, err, webhook.ReasonTimestamp)
		}
		r := signed("[]", time.Now(), inUse)
		r.Header.Set(hubspot.HeaderTimestamp, strconv.FormatInt(time.Now().Add(time.Second).UnixMilli(), 10))
		_, err := verify(newVerifier(), r)
		wantReason(t, "another time than the signed", err, webhook.ReasonSignature)
	})
}

// A request is taken once, but again after an answer of 5xx, for as long as its
// time is good.
func TestReplays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, at := newVerifier(), time.Now().Add(webhook.Window)
		first, err := verify(v, signed("[]", at, inUse))
		wantReason(t, "the first", err, "")
		_, err = verify(v, signed("[]", at, inUse))
		wantReason(t, "the same while the first is under way", err, webhook.ReasonReplay)
		first.Answered(503)
		second, err := verify(v, signed("[]", at, inUse))
		wantReason(t, "the same after 503", err, "")
		second.Answered(404)
		for range 20 {
			_, err = verify(v, signed("[]", at, inUse))
			wantReason(t, "the same after 404", err, webhook.ReasonReplay)
			time.Sleep(30 * time.Second)
		}
		time.Sleep(time.Second)
		_, err = verify(v, signed("[]", at, inUse))
		wantReason(t, "the same when its time is over", err, webhook.ReasonTimestamp)
		_, err = verify(v, signed("[1]", time.Now(), inUse))
		wantReason(t, "another", err, "")
	})
}

func TestSizes(t *testing.T) {
	t.Parallel()
	largest := strings.Repeat("x", webhook.MaxBody)
	_, err := verify(newVerifier(), signed(largest, time.Now(), inUse))
	wantReason(t, "the largest", err, "")
	_, err = verify(newVerifier(), signed(largest+"x", time.Now(), inUse))
	wantReason(t, "one byte more", err, webhook.ReasonSize)
	r := signed(largest+"x", time.Now(), inUse)
	r.ContentLength = -1
	_, err = verify(newVerifier(), r)
	wantReason(t, "one byte more, unannounced", err, webhook.ReasonSize)
	_, err = verify(newVerifier(), signed("", time.Now(), inUse))
	wantReason(t, "an empty body", err, "")
}

func TestVersions(t *testing.T) {
	t.Parallel()
	const v1, v2, v3 = hubspot.SignatureV1, hubspot.SignatureV2, hubspot.SignatureV3
	for _, old := range []hubspot.SignatureVersion{v1, v2} {
		_, err := verify(newVerifier(v3), signedOld("POST", "[]", old))
		wantReason(t, string(old)+" where v3 is taken", err, webhook.ReasonSignature)
		got, err := verify(newVerifier(v3, old), signedOld("POST", "[]", old))
		if err != nil || got.Version != old {
			t.Errorf("%s where it is taken: %v", old, err)
		}
	}
	_, err := verify(newVerifier(v1), signedOld("POST", "[]", v2))
	wantReason(t, "v2 where v1 is taken", err, webhook.ReasonSignature)
	// A right signature of an older version does not make up for a wrong one.
	r := signedOld("POST", "[]", v1)
	hubspot.SignHeader(r.Header, hubspot.Signed{Timestamp: strconv.FormatInt(time.Now().UnixMilli(), 10)}, inUse)
	_, err = verify(newVerifier(v3, v1), r)
	wantReason(t, "a wrong v3 beside a right v1", err, webhook.ReasonSignature)
	// Where v3 is not taken, HubSpot's older signature beside it is.
	_, err = verify(newVerifier(v1), r2(r))
	wantReason(t, "v1 beside v3 where v3 is not taken", err, "")
	// Cards are asked for with GET, and the same one again and again.
	v := newVerifier(v2)
	for range 2 {
		_, err := verify(v, signedOld("GET", "", v2))
		wantReason(t, "a card", err, "")
	}
	for range 2 {
		_, err = verify(v, signedOld("POST", "[]", v2))
	}
	wantReason(t, "the same v2 again", err, webhook.ReasonReplay)
}

// r2 is r with its body unread.
func r2(r *http.Request) *http.Request {
	r.Body = io.NopCloser(strings.NewReader("[]"))
	return r
}

func TestNothingSigned(t *testing.T) {
	t.Parallel()
	all := []hubspot.SignatureVersion{hubspot.SignatureV1, hubspot.SignatureV2, hubspot.SignatureV3}
	for what, change := range map[string]func(http.Header){
		"nothing":        func(h http.Header) { clear(h) },
		"two signatures": func(h http.Header) { h.Add(hubspot.HeaderSignatureV3, h.Get(hubspot.HeaderSignatureV3)) },
		"a version 3 in the old header": func(h http.Header) {
			h.Set(hubspot.HeaderSignature, h.Get(hubspot.HeaderSignatureV3))
			h.Set(hubspot.HeaderSignatureVersion, "v3")
			h.Del(hubspot.HeaderSignatureV3)
		},
		"an empty one": func(h http.Header) { h.Set(hubspot.HeaderSignatureV3, "") },
	} {
		r := signed("[]", time.Now(), inUse)
		change(r.Header)
		_, err := verify(newVerifier(all...), r)
		wantReason(t, what, err, webhook.ReasonSignature)
	}
}

// What is not the sender's fault is answered so that HubSpot sends it again.
func TestNoCredentials(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	v.Credentials = func(context.Context) (hubspot.Credentials, error) {
		return hubspot.Credentials{}, errors.New("vault is away")
	}
	_, err := verify(v, signed("[]", time.Now(), inUse))
	if e, ok := errors.AsType[*apierror.Error](err); !ok || e.Status != 503 || strings.Contains(e.Message, "vault") {
		t.Errorf("error = %v; want a 503 that says no more than it has to", err)
	}
	v.Credentials = func(context.Context) (hubspot.Credentials, error) { return hubspot.Credentials{}, nil }
	_, err = verify(v, signed("[]", time.Now(), secret.Text{}))
	wantReason(t, "an empty secret", err, webhook.ReasonSignature)
}

func TestBodiesThatBreakOff(t *testing.T) {
	t.Parallel()
	r := signed("[]", time.Now(), inUse)
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader([]byte("[")), brokenReader{}))
	_, err := verify(newVerifier(), r)
	if e, ok := errors.AsType[*apierror.Error](err); !ok || e.Status != 400 {
		t.Errorf("error = %v; want a 400", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestVerifiedCannotBeForged(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	for _, name := range []string{"X-HubSpot-Verified", "x-hubspot-verified", "X_HubSpot_Verified", "x-HUBSPOT_verified"} {
		r.Header[name] = []string{"v3"}
	}
	r.Header.Set("X-HubSpot-Verifieds", "stays")
	r.Trailer = http.Header{"X-Hubspot-Verified": nil}
	webhook.RemoveVerified(r)
	if len(r.Header) != 1 || len(r.Trailer) != 0 {
		t.Errorf("there are %v and %v; want the other header only", r.Header, r.Trailer)
	}
}

// Strangers that send large bodies and do not end them have little held. Small
// requests are verified meanwhile.
func TestLargeBodiesAreBounded(t *testing.T) {
	t.Parallel()
	v := newVerifier()
	v.Large = webhook.NewLargeBodies(webhook.MaxBody)
	large := `["` + strings.Repeat("x", 100<<10) + `"]`
	from, to := io.Pipe()
	slow := signed("[]", time.Now(), inUse)
	slow.Body, slow.ContentLength = from, -1
	done := make(chan error)
	go func() {
		_, err := verify(v, slow)
		done <- err
	}()
	// The second piece is read after the first has been counted.
	for _, piece := range []string{large, "x"} {
		if _, err := io.WriteString(to, piece); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now()
	_, err := verify(v, signed(large, at, inUse))
	if e, ok := errors.AsType[*apierror.Error](err); !ok || e.SubCategory != apierror.TooBusy {
		t.Errorf("a large request beside one that does not end: %v; want too_busy", err)
	}
	if _, err := verify(v, signed("[1]", at, inUse)); err != nil {
		t.Errorf("a small request: %v", err)
	}
	_ = to.Close()
	wantReason(t, "the slow one", <-done, webhook.ReasonSignature)
	for range 2 {
		if _, err := verify(v, signed(large, at, inUse)); err != nil {
			t.Errorf("a large request: %v; want it taken, now that there is room", err)
		}
		at = at.Add(time.Millisecond)
	}
}
