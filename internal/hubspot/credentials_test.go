package hubspot_test

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secretuse"
)

const badSecret = `{"error":"invalid_client","status":"BAD_CLIENT_SECRET","message":"missing or invalid client secret"}`

// accepting answers as HubSpot with one valid client secret.
func accepting(valid *atomic.Pointer[string]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("client_secret") != *valid.Load() {
			answer(400, badSecret)(w, r)
			return
		}
		answer(200, goodAnswer)(w, r)
	}
}

func rotating(e *endpoint) *hubspot.Client {
	client := e.client()
	client.Credentials = hubspot.StaticCredentials{
		ClientID: clientID, Secret: secret.New(clientSecret), NextSecret: secret.New(nextSecret),
	}
	return client
}

func TestSecretRotation(t *testing.T) {
	var valid atomic.Pointer[string]
	first, next := clientSecret, nextSecret
	e := serve(t, accepting(&valid))
	client := rotating(e)
	steps := []struct {
		name  string
		valid *string
		want  []string // secrets tried
	}{
		{"before the rotation", &first, []string{first}},
		{"rotated", &next, []string{first, next}},
		{"the new one is remembered", &next, []string{next}},
		{"rolled back", &first, []string{next, first}},
		{"the old one is remembered", &first, []string{first}},
	}
	for _, step := range steps {
		valid.Store(step.valid)
		before := len(e.seen())
		if _, err := client.Refresh(t.Context(), secret.New(refreshToken)); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := e.secretsSeen()[before:]; !slices.Equal(got, step.want) {
			t.Errorf("%s: tried %q, want %q", step.name, got, step.want)
		}
	}
}

// The first secret is tried again after a while, so that it shows whether the
// other is still needed.
func TestTheFirstSecretIsTriedAgain(t *testing.T) {
	var valid atomic.Pointer[string]
	first, next := clientSecret, nextSecret
	valid.Store(&next)
	e := serve(t, accepting(&valid))
	client, now := rotating(e), time.Now()
	client.Now = func() time.Time { return now }
	var used []string
	client.SecretUsed = func(s secret.Text, purpose secretuse.Purpose) {
		used = append(used, s.Reveal()+" "+string(purpose))
	}
	refresh := func(want ...string) {
		t.Helper()
		before := len(e.seen())
		if _, err := client.Refresh(t.Context(), secret.New(refreshToken)); err != nil {
			t.Fatal(err)
		}
		if got := e.secretsSeen()[before:]; !slices.Equal(got, want) {
			t.Errorf("tried %q, want %q", got, want)
		}
	}
	refresh(first, next)
	for range 4 {
		now = now.Add(time.Minute)
		refresh(next)
	}
	now = now.Add(time.Minute)
	refresh(first, next)
	now = now.Add(4 * time.Minute)
	refresh(next)
	valid.Store(&first)
	now = now.Add(time.Minute)
	refresh(first)
	if _, err := client.Exchange(t.Context(), "code", "verifier"); err != nil {
		t.Error(err)
	}
	if err := client.Revoke(t.Context(), secret.New(refreshToken)); err != nil {
		t.Error(err)
	}
	want := append(slices.Repeat([]string{next + " refresh"}, 7), first+" refresh", first+" code_exchange", first+" revoke")
	if !slices.Equal(used, want) {
		t.Errorf("used %q", used)
	}
}

func TestSecretRotationOnEveryCall(t *testing.T) {
	var valid atomic.Pointer[string]
	next := nextSecret
	valid.Store(&next)
	e := serve(t, accepting(&valid))
	if _, err := rotating(e).Exchange(t.Context(), "code", "verifier"); err != nil {
		t.Errorf("Exchange: %v", err)
	}
	if err := rotating(e).Revoke(t.Context(), secret.New(refreshToken)); err != nil {
		t.Errorf("Revoke: %v", err)
	}
}

func TestSecondSecretIsTriedOnlyForTheSecret(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		tries  int
		class  hubspot.Class
	}{
		"both wrong":        {400, badSecret, 2, misconfigured},
		"RFC only":          {401, `{"error":"invalid_client"}`, 2, misconfigured},
		"status only":       {400, `{"status":"BAD_CLIENT_SECRET"}`, 2, misconfigured},
		"unknown client id": {400, `{"error":"invalid_client","status":"BAD_CLIENT_ID"}`, 1, misconfigured},
		"dead grant":        {400, `{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}`, 1, dead},
		"other fault":       {400, `{"status":"BAD_SCOPES"}`, 1, connection},
		"down":              {503, ``, 1, transient},
		"down, odd body":    {503, badSecret, 1, transient},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := serve(t, answer(tt.status, tt.body))
			_, err := rotating(e).Refresh(t.Context(), secret.New(refreshToken))
			if got := hubspot.Classify(err); err == nil || got != tt.class {
				t.Errorf("class %v, want %v: %v", got, tt.class, err)
			}
			if n := len(e.seen()); n != tt.tries {
				t.Errorf("HubSpot was asked %d times, want %d", n, tt.tries)
			}
		})
	}
}

func TestSameSecretTwiceIsTriedOnce(t *testing.T) {
	e := serve(t, answer(400, badSecret))
	client := e.client()
	client.Credentials = hubspot.StaticCredentials{
		ClientID: clientID, Secret: secret.New(clientSecret), NextSecret: secret.New(clientSecret),
	}
	if _, err := client.Refresh(t.Context(), secret.New(refreshToken)); err == nil {
		t.Error("Refresh took a refusal")
	}
	if n := len(e.seen()); n != 1 {
		t.Errorf("HubSpot was asked %d times, want once", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	var valid atomic.Pointer[string]
	next := nextSecret
	valid.Store(&next)
	client := rotating(serve(t, accepting(&valid)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := client.Refresh(t.Context(), secret.New(refreshToken)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
