package jwtauth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
)

const keysURL = "https://issuer.example.com/keys"

// issuer answers requests for its keys, without a network.
type issuer struct {
	mu sync.Mutex
	// set is what it answers, err why it does not.
	set     []byte
	err     error
	delay   time.Duration
	fetches int
}

func (i *issuer) publish(t testing.TB, keys ...jose.JSONWebKey) {
	set := setOf(t, keys...)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.set, i.err = set, nil
}

func (i *issuer) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func (i *issuer) asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.fetches++
	set, err, delay := i.set, i.err, i.delay
	i.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(set)), Request: r}, nil
}

// urlSet makes a key set of an issuer.
func urlSet(t testing.TB, from http.RoundTripper, logs io.Writer) *jwtauth.KeySet {
	t.Helper()
	set, err := jwtauth.NewURLKeySet(keysURL, &http.Client{Transport: from}, slog.New(slog.NewTextHandler(logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// check is a token that is made anew, so that it is not remembered.
func check(t testing.TB, verifier *jwtauth.Verifier, name string, want error) {
	t.Helper()
	alg := map[string]jose.SignatureAlgorithm{"ed": jose.EdDSA, "p256": jose.ES256}[name]
	_, err := verifier.Verify(t.Context(), sign(t, alg, signers()[name], name, goodClaims()))
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("a token of %s: %v, want %v", name, err, want)
	}
}

func TestKeysAreFetchedOnDemand(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{delay: 100 * time.Millisecond}
		from.publish(t, jwk("ed"))
		verifier := verifierOf(urlSet(t, from, io.Discard))
		time.Sleep(2 * time.Hour)
		if n := from.asked(); n != 0 {
			t.Fatalf("%d fetches before there was a token", n)
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { check(t, verifier, "ed", nil) })
		}
		all.Wait()
		if n := from.asked(); n != 1 {
			t.Errorf("%d fetches for 20 tokens at once, want 1", n)
		}
		time.Sleep(time.Second)
		check(t, verifier, "ed", nil)
		if n := from.asked(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

func TestUnknownKeys(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		from := new(issuer)
		from.publish(t, jwk("ed"))
		verifier := verifierOf(urlSet(t, from, io.Discard))
		check(t, verifier, "ed", nil)
		for range 50 {
			check(t, verifier, "p256", jwtauth.ErrUnknownKey)
			time.Sleep(time.Second)
		}
		if n := from.asked(); n < 5 || n > 6 {
			t.Errorf("%d fetches in 50 s of tokens with an unknown key, want one in 10 s", n)
		}
		from.publish(t, jwk("ed"), jwk("p256"))
		time.Sleep(10 * time.Second)
		check(t, verifier, "p256", nil)
		// A wrong signature of a key that is known is no reason to ask.
		before := from.asked()
		time.Sleep(time.Minute)
		_, err := verifier.Verify(t.Context(), sign(t, jose.EdDSA, signers()["ed"], "ed", goodClaims())+"AA")
		if !errors.Is(err, jwtauth.ErrBadSignature) || from.asked() != before {
			t.Errorf("%v, %d fetches more", err, from.asked()-before)
		}
	})
}

func TestKeysAreRefreshed(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		from := new(issuer)
		from.publish(t, jwk("ed"))
		verifier := verifierOf(urlSet(t, from, io.Discard))
		check(t, verifier, "ed", nil)
		from.publish(t, jwk("p256"))
		time.Sleep(59 * time.Minute)
		check(t, verifier, "ed", nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		check(t, verifier, "ed", jwtauth.ErrUnknownKey)
		check(t, verifier, "p256", nil)
	})
}

// Old keys work while the issuer is away, and not for ever.
func TestIssuerAway(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{err: errors.New("connection refused")}
		var logs bytes.Buffer
		verifier := verifierOf(urlSet(t, from, &logs))
		check(t, verifier, "ed", jwtauth.ErrKeysUnavailable)
		check(t, verifier, "ed", jwtauth.ErrKeysUnavailable)
		if n := from.asked(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		from.publish(t, jwk("ed"))
		time.Sleep(11 * time.Second)
		check(t, verifier, "ed", nil)

		from.fail(errors.New("connection refused"))
		for range 23 {
			time.Sleep(time.Hour)
			check(t, verifier, "ed", nil)
		}
		check(t, verifier, "p256", jwtauth.ErrKeysUnavailable)
		time.Sleep(time.Hour + time.Second)
		check(t, verifier, "ed", jwtauth.ErrKeysUnavailable)
		from.publish(t, jwk("ed"))
		time.Sleep(10 * time.Second)
		check(t, verifier, "ed", nil)
		if !strings.Contains(logs.String(), "connection refused") || !strings.Contains(logs.String(), keysURL) {
			t.Errorf("the log does not say what is wrong: %.300s", logs.String())
		}
	})
}

func TestFetchesEnd(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{delay: time.Hour}
		verifier := verifierOf(urlSet(t, from, io.Discard))
		begun := time.Now()
		check(t, verifier, "ed", jwtauth.ErrKeysUnavailable)
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("an issuer that does not answer is waited for during %v, want 5 s", took)
		}
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := verifier.Verify(ctx, sign(t, jose.EdDSA, signers()["ed"], "ed", goodClaims()))
		if !errors.Is(err, jwtauth.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller with a deadline: %v", err)
		}
	})
}

// Whatever an address answers that is no JWK set leaves the keys alone.
func TestBadAnswers(t *testing.T) {
	var answer http.HandlerFunc
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(setOf(t, jwk("ed"))) }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
	good := string(setOf(t, jwk("ed")))
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   error
	}{
		{"good", text(good), nil},
		{"keys that are not understood", text(`{"keys":[{"kty":"XX"},{"kty":"oct","k":"AAAA","kid":"ed"},7,` + strings.TrimPrefix(good, `{"keys":[`)), nil},
		{"same host", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				http.Redirect(w, r, "/moved", http.StatusFound)
				return
			}
			io.WriteString(w, good)
		}, nil},
		{"no keys", text(`{"keys":[]}`), jwtauth.ErrUnknownKey},
		{"another host", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, jwtauth.ErrKeysUnavailable},
		{"in circles", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/keys", http.StatusFound) }, jwtauth.ErrKeysUnavailable},
		{"error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, good, http.StatusInternalServerError) }, jwtauth.ErrKeysUnavailable},
		{"page", text("<html>"), jwtauth.ErrKeysUnavailable},
		{"other JSON", text(`{"error":"x"}`), jwtauth.ErrKeysUnavailable},
		{"null", text(`{"keys":null}`), jwtauth.ErrKeysUnavailable},
		{"large", text(`{"x":"` + strings.Repeat("x", 1<<20) + `",` + good[1:]), jwtauth.ErrKeysUnavailable},
		{"many keys", text(`{"keys":[` + strings.Repeat("7,", 64) + "7]}"), jwtauth.ErrKeysUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer = tc.answer
			set, err := jwtauth.NewURLKeySet(server.URL+"/keys", nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer set.Close()
			check(t, verifierOf(set), "ed", tc.want)
		})
	}
}

func TestCheckURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://issuer.example.com/keys?x=1": "", "http://localhost:8080/keys": "", "http://127.0.0.1/keys": "", "http://[::1]:1/keys": "",
		"http://issuer.example.com/keys": "must be https", "http://127.0.0.1.example.com/": "must be https",
		"issuer.example.com/keys": "must be a URL", "https:///keys": "must be a URL", "ftp://issuer.example.com": "must be a URL", "": "must be a URL",
		"https://a:b@issuer.example.com": "user name", "https://issuer.example.com/#x": "fragment",
	} {
		err := jwtauth.CheckURL(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
		if _, made := jwtauth.NewURLKeySet(address, nil, nil); (made == nil) != (want == "") {
			t.Errorf("%q: NewURLKeySet: %v", address, made)
		}
	}
}

func TestFileChanges(t *testing.T) {
	signers()
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(data []byte) {
		t.Helper()
		// As Kubernetes does it: another file takes the place.
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(setOf(t, jwk("ed")))
	synctest.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		set, err := jwtauth.NewFileKeySet(path, slog.New(slog.NewTextHandler(&logs, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		verifier := verifierOf(set)
		check(t, verifier, "ed", nil)
		write(setOf(t, jwk("p256")))
		check(t, verifier, "ed", nil)
		time.Sleep(5 * time.Second)
		check(t, verifier, "ed", jwtauth.ErrUnknownKey)
		check(t, verifier, "p256", nil)

		write([]byte("half a fi"))
		time.Sleep(5 * time.Second)
		check(t, verifier, "p256", nil)
		if !strings.Contains(logs.String(), "not a JWK set") {
			t.Errorf("the log does not say what is wrong: %s", logs.String())
		}
		os.Remove(path)
		for range 23 {
			time.Sleep(time.Hour)
			check(t, verifier, "p256", nil)
		}
		time.Sleep(time.Hour)
		check(t, verifier, "p256", jwtauth.ErrKeysUnavailable)
		write(setOf(t, jwk("p256")))
		time.Sleep(5 * time.Second)
		check(t, verifier, "p256", nil)
	})
}

func TestFileThatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "pem": "-----BEGIN PUBLIC KEY-----", "list": "[]"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := jwtauth.NewFileKeySet(path, nil); err == nil || !strings.Contains(err.Error(), "not a JWK set") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := jwtauth.NewFileKeySet(filepath.Join(dir, "missing"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// A private key in the set is not taken for a public one.
func TestPrivateKeyInSet(t *testing.T) {
	private := jose.JSONWebKey{Key: signers()["ed"], KeyID: "ed"}
	check(t, verifierOf(fileSet(t, private)), "ed", jwtauth.ErrUnknownKey)
}
