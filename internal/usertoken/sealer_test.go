package usertoken_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/usertoken"
)

var (
	issued = time.Date(2026, 11, 24, 12, 0, 0, 123e6, time.UTC)
	oldKey = secret.New("11111111-aaaa-bbbb-cccc-000000000001")
	newKey = secret.New("11111111-aaaa-bbbb-cccc-000000000002")
)

func sealer(t testing.TB, app string, secrets ...secret.Text) *usertoken.Sealer {
	t.Helper()
	s, err := usertoken.NewSealer(app, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *usertoken.Sealer, token usertoken.Token) string {
	t.Helper()
	sealed, err := s.Seal(token)
	if err != nil {
		t.Fatal(err)
	}
	return sealed.Reveal()
}

func rules(t testing.TB, texts ...string) (list []access.Rule) {
	t.Helper()
	for _, text := range texts {
		rule, err := access.ParseRuleText(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rule)
	}
	return list
}

func usual(t testing.TB) usertoken.Token {
	return usertoken.Token{
		ID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Caller: "crm-sync", App: "hbdev", User: "jane.doe+test@example.com",
		Allow: rules(t, "GET,POST /crm/objects/*", "GET /files/a b&<>*"), Deny: rules(t, "* /crm/*/gdpr-delete"),
		IssuedAt: issued, ExpiresAt: issued.Add(time.Hour),
	}
}

func TestRoundTrip(t *testing.T) {
	tests := map[string]func(*usertoken.Token){
		"usual":               func(*usertoken.Token) {},
		"app in another case": func(token *usertoken.Token) { token.App = "HbDev" },
		"app left empty":      func(token *usertoken.Token) { token.App = "" },
		"not narrowed":        func(token *usertoken.Token) { token.Allow, token.Deny = nil, nil },
		"odd user":            func(token *usertoken.Token) { token.User = "*../ \"\\\u2028 ünï {env.X} &<>" },
		"a second":            func(token *usertoken.Token) { token.ExpiresAt = issued.Add(time.Second) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s, token := sealer(t, "hbdev", newKey), usual(t)
			change(&token)
			got, err := s.Open(seal(t, s, token), issued)
			if err != nil {
				t.Fatal(err)
			}
			if !got.IssuedAt.Equal(token.IssuedAt) || !got.ExpiresAt.Equal(token.ExpiresAt) {
				t.Errorf("lives from %v to %v", got.IssuedAt, got.ExpiresAt)
			}
			token.App, token.IssuedAt, token.ExpiresAt = "hbdev", got.IssuedAt, got.ExpiresAt
			if !reflect.DeepEqual(got, token) {
				t.Error("the opened token is not the sealed one")
			}
		})
	}
}

func TestSealedForm(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	one, two := seal(t, s, usual(t)), seal(t, s, usual(t))
	if one == two {
		t.Error("the same token is sealed twice to the same text")
	}
	if !regexp.MustCompile(`^hsut_[A-Za-z0-9_-]+$`).MatchString(one) || len(one) > 500 {
		t.Errorf("a usual token is %d characters: %q", len(one), one)
	}
	long := usual(t)
	long.User = strings.Repeat(`"`, 1024)
	if n := len(seal(t, s, long)); n > usertoken.MaxLength {
		t.Errorf("the longest user takes %d characters", n)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(one, access.UserTokenPrefix))
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"jane", "crm", "hbdev", "GET", usual(t).ID} {
		if strings.Contains(string(raw), content) || strings.Contains(one, content) {
			t.Errorf("the sealed token shows %q", content)
		}
	}
}

func TestTag(t *testing.T) {
	token := seal(t, sealer(t, "HbDev", newKey), usual(t))
	if tag, ok := usertoken.TagOf(token); !ok || tag != usertoken.Tag("hbdev") || tag == usertoken.Tag("other") {
		t.Errorf("the tag is %x, %v", tag, ok)
	}
	for _, text := range []string{"", "hsut_", token[:20], strings.TrimPrefix(token, "hsut_"), "hsut_!" + token[6:], "hsut_\n" + token[5:]} {
		if _, ok := usertoken.TagOf(text); ok {
			t.Errorf("%q has a tag", text)
		}
	}
}

func TestSecretRotation(t *testing.T) {
	before := sealer(t, "hbdev", oldKey, secret.Text{})
	during := sealer(t, "hbdev", oldKey, newKey)
	swapped := sealer(t, "hbdev", newKey, oldKey)
	after := sealer(t, "hbdev", newKey)
	tests := map[string]struct {
		from, to *usertoken.Sealer
		want     error
	}{
		"made before, opened during":  {before, during, nil},
		"made during, opened before":  {during, before, nil},
		"made before, opened swapped": {before, swapped, nil},
		"made swapped, opened after":  {swapped, after, nil},
		"made before, opened after":   {before, after, usertoken.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.to.Open(seal(t, tt.from, usual(t)), issued); !errors.Is(err, tt.want) {
				t.Errorf("Open() = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestOpenByTheClock(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	sealed := seal(t, s, usual(t))
	tests := map[string]struct {
		after time.Duration
		want  error
	}{
		"at once":                       {0, nil},
		"before the end":                {time.Hour - time.Millisecond, nil},
		"at the end":                    {time.Hour, usertoken.ErrExpired},
		"a day later":                   {24 * time.Hour, usertoken.ErrExpired},
		"sealed by a clock ahead":       {-time.Minute, nil},
		"sealed by a clock too far off": {-time.Minute - time.Millisecond, usertoken.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Open(sealed, issued.Add(tt.after)); !errors.Is(err, tt.want) {
				t.Errorf("Open() = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	token := usual(t)
	sealed := seal(t, s, token)
	token.App = "other"
	other := seal(t, sealer(t, "other", newKey), token)
	const header = len("hsut_") + 16
	for name, text := range map[string]string{
		"empty":               "",
		"prefix only":         "hsut_",
		"garbage":             "hsut_garbage!",
		"without its prefix":  strings.TrimPrefix(sealed, "hsut_"),
		"prefix in capitals":  "HSUT_" + sealed[5:],
		"another app's":       other,
		"header only":         sealed[:header],
		"cut":                 sealed[:len(sealed)-4],
		"something appended":  sealed + "AAAA",
		"line break":          sealed[:30] + "\n" + sealed[30:],
		"padded":              sealed + "=",
		"too long":            sealed + strings.Repeat("A", 4096),
		"our header on other": sealed[:header] + other[header:],
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Open(text, issued)
			if !errors.Is(err, usertoken.ErrMalformed) || !reflect.DeepEqual(got, usertoken.Token{}) {
				t.Errorf("Open() = %v", err)
			}
		})
	}
}

func TestEveryBitIsAuthenticated(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(seal(t, s, usual(t)), "hsut_"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		_, err := s.Open("hsut_"+base64.RawURLEncoding.EncodeToString(raw), issued)
		raw[i] ^= 1
		if !errors.Is(err, usertoken.ErrMalformed) {
			t.Fatalf("byte %d can be altered: %v", i, err)
		}
	}
}

// The state of an install is no token, and a token no state, even under the
// header of the other.
func TestStatesAreNoTokens(t *testing.T) {
	tokens := sealer(t, "hbdev", newKey)
	states, err := oauthstate.NewSealer("hbdev", newKey)
	if err != nil {
		t.Fatal(err)
	}
	state, err := states.Seal(oauthstate.State{User: "acme", Verifier: "v", Nonce: "n", IssuedAt: issued})
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimPrefix(seal(t, tokens, usual(t)), "hsut_")
	for _, text := range []string{state, token[:16] + state[16:]} {
		if _, err := tokens.Open("hsut_"+text, issued); !errors.Is(err, usertoken.ErrMalformed) {
			t.Errorf("a state as a token: %v", err)
		}
	}
	for _, text := range []string{token, "hsut_" + token, state[:16] + token[16:]} {
		if _, err := states.Open(text, issued); !errors.Is(err, oauthstate.ErrMalformed) {
			t.Errorf("a token as a state: %v", err)
		}
	}
}

// A token that the first version sealed, from the corpus of FuzzOpen: tokens
// outlive an update.
func TestOpenOfTheFirstVersion(t *testing.T) {
	const sealed = "hsut_aHUBfCMaHPW65-D3Xf1R5NBS0lzR9p4I8EIslYMYYlFxn6c9D4jkqYvm_v9zXNnR9lefyhI_j-bqy-dVLIZaD4FBHRhrXYHHRt0zlMVps7HWwXLHmvj0rUzty1yneugYXs7FKsag_oPTBz_jGi4LiZht3wilGHn9mcypv-to3rtqIq07W1qHIAS1v8i4HZo1Pbr3LpUYSZpKhQelREM-AqUJDweEY5is4h9uGy_I7MXhUBWBF92Q43qVHOhKqh5nFdXXdTA_Eooijf9BT7abWLYxvtdkwGf71PzU3U_u0r6xibWj9YDCnrjEHhniM6XVdYr5kXJ7NX4NA5wk"
	token, err := sealer(t, "hbdev", newKey).Open(sealed, issued)
	if err != nil || token.ID != usual(t).ID || token.User != usual(t).User {
		t.Errorf("Open() = %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*usertoken.Token)
		want   string
	}{
		"another app":     {func(token *usertoken.Token) { token.App = "other" }, "another app"},
		"no user":         {func(token *usertoken.Token) { token.User = "" }, "user is empty"},
		"user not UTF-8":  {func(token *usertoken.Token) { token.User = "jane\xff" }, "UTF-8"},
		"no caller":       {func(token *usertoken.Token) { token.Caller = "" }, "caller is empty"},
		"no id":           {func(token *usertoken.Token) { token.ID = "" }, "id must"},
		"odd id":          {func(token *usertoken.Token) { token.ID = "a b" }, "id must"},
		"no end":          {func(token *usertoken.Token) { token.ExpiresAt = time.Time{} }, "time to live"},
		"ends at once":    {func(token *usertoken.Token) { token.ExpiresAt = token.IssuedAt }, "time to live"},
		"lives too long":  {func(token *usertoken.Token) { token.ExpiresAt = issued.Add(time.Hour + 1) }, "time to live"},
		"a rule twice":    {func(token *usertoken.Token) { token.Deny = rules(t, "GET /a", "GET /a") }, "given twice"},
		"rule of nothing": {func(token *usertoken.Token) { token.Allow = make([]access.Rule, 1) }, "allow"},
		"too much":        {func(token *usertoken.Token) { token.Allow = rules(t, "GET /"+strings.Repeat("p", 4000)) }, "too long"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := usual(t)
			tt.change(&token)
			sealed, err := sealer(t, "hbdev", newKey).Seal(token)
			if err == nil || !sealed.IsZero() || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "jane") {
				t.Errorf("Seal() = %v; want an error that names %q and not the user", err, tt.want)
			}
			if (name == "too much") != errors.Is(err, usertoken.ErrTooLong) {
				t.Errorf("%v is ErrTooLong: %v", err, errors.Is(err, usertoken.ErrTooLong))
			}
		})
	}
	for _, app := range []string{"", "hbdev"} {
		if _, err := usertoken.NewSealer(app); err == nil {
			t.Errorf("app %q without a secret has a sealer", app)
		}
	}
}

func TestTokenCannotPrintItself(t *testing.T) {
	token := usual(t)
	sealed, err := sealer(t, "hbdev", newKey).Seal(token)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(map[string]any{"token": token, "sealed": sealed})
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "token", token, "sealed", sealed)
	for _, text := range []string{
		fmt.Sprint(token, sealed), fmt.Sprintf("%+v %#v %s %q %x", token, token, token, token, token),
		fmt.Sprintf("%+v %#v %s %q %x", sealed, sealed, sealed, sealed, sealed), string(encoded), logged.String(),
	} {
		if strings.Contains(text, "jane") || strings.Contains(text, fmt.Sprintf("%x", "jane")) || strings.Contains(text, "hsut_") {
			t.Errorf("the token prints itself: %q", text)
		}
	}
}

// FuzzOpen looks for texts that break Open, or that it takes without having
// sealed them.
func FuzzOpen(f *testing.F) {
	s := sealer(f, "hbdev", newKey, oldKey)
	f.Add("")
	f.Add(seal(f, s, usual(f)))
	f.Fuzz(func(t *testing.T, text string) {
		_, tagged := usertoken.TagOf(text)
		token, err := s.Open(text, issued)
		if err != nil && !errors.Is(err, usertoken.ErrMalformed) && !errors.Is(err, usertoken.ErrExpired) {
			t.Errorf("error %v is none of the two", err)
		}
		if err == nil && (token.ID != usual(t).ID || !tagged) {
			t.Error("a token is opened that was not sealed")
		}
	})
}

// FuzzRoundTrip looks for tokens that come out other than they went in.
func FuzzRoundTrip(f *testing.F) {
	s := sealer(f, "hbdev", newKey)
	f.Add("acme", "crm-sync", "GET,POST /crm/*", "* *", int64(0), int64(1))
	f.Add("\xff*", "\u2028<>&", "GET /a\"\\b", "PATCH /\ufffd", int64(-1), int64(3600_000))
	f.Fuzz(func(t *testing.T, user, caller, allow, deny string, at, life int64) {
		token := usertoken.Token{
			ID: "i", Caller: caller, App: "hbdev", User: user,
			IssuedAt: issued.Add(time.Duration(at%3600_000) * time.Millisecond),
		}
		token.ExpiresAt = token.IssuedAt.Add(time.Duration(life%7200_000) * time.Millisecond)
		if rule, err := access.ParseRuleText(allow); err == nil {
			token.Allow = []access.Rule{rule}
		}
		if rule, err := access.ParseRuleText(deny); err == nil {
			token.Deny = []access.Rule{rule}
		}
		sealed, err := s.Seal(token)
		if err != nil {
			return
		}
		if n := len(sealed.Reveal()); n > usertoken.MaxLength {
			t.Errorf("the token has %d characters", n)
		}
		got, err := s.Open(sealed.Reveal(), token.IssuedAt)
		if err != nil {
			t.Fatal(err)
		}
		if !got.IssuedAt.Equal(token.IssuedAt) || !got.ExpiresAt.Equal(token.ExpiresAt) {
			t.Errorf("lives from %v to %v", got.IssuedAt, got.ExpiresAt)
		}
		token.IssuedAt, token.ExpiresAt = got.IssuedAt, got.ExpiresAt
		if !reflect.DeepEqual(got, token) {
			t.Error("the opened token is not the sealed one")
		}
	})
}

// BenchmarkOpen is what a token costs on the way of a request, and NewSealer
// what it would cost to derive the keys each time.
func BenchmarkOpen(b *testing.B) {
	for _, bc := range []struct {
		name  string
		allow []string
		keys  []secret.Text
	}{
		{"whole", nil, []secret.Text{newKey}},
		{"narrowed", []string{"GET,POST /crm/objects/*", "GET /crm/properties/*", "GET /files/*"}, []secret.Text{newKey}},
		{"rotated", nil, []secret.Text{oldKey, newKey}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			token := usual(b)
			token.Allow, token.Deny = rules(b, bc.allow...), nil
			sealed, s := seal(b, sealer(b, "hbdev", newKey), token), sealer(b, "hbdev", bc.keys...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Open(sealed, issued); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("NewSealer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealer(b, "hbdev", newKey)
		}
	})
}
