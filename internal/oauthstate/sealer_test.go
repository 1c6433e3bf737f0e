package oauthstate_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

var (
	issued = time.Date(2026, 11, 23, 12, 0, 0, 123e6, time.UTC)
	oldKey = secret.New("11111111-aaaa-bbbb-cccc-000000000001")
	newKey = secret.New("11111111-aaaa-bbbb-cccc-000000000002")
)

func sealer(t testing.TB, app string, secrets ...secret.Text) *oauthstate.Sealer {
	t.Helper()
	s, err := oauthstate.NewSealer(app, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *oauthstate.Sealer, st oauthstate.State) string {
	t.Helper()
	sealed, err := s.Seal(st)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func usual() oauthstate.State {
	return oauthstate.State{
		App:         "hbdev",
		User:        "jane.doe+test@example.com",
		Verifier:    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		ReturnTo:    "https://app.example.com/settings/integrations?tab=crm&x=<y>",
		Nonce:       "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
		BrowserHash: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
		IssuedAt:    issued,
	}
}

func TestRoundTrip(t *testing.T) {
	tests := map[string]func(*oauthstate.State){
		"usual":                 func(*oauthstate.State) {},
		"app in another case":   func(st *oauthstate.State) { st.App = "HbDev" },
		"app left empty":        func(st *oauthstate.State) { st.App = "" },
		"a link":                func(st *oauthstate.State) { st.BrowserHash, st.ReturnTo = "", "" },
		"portal change allowed": func(st *oauthstate.State) { st.AllowPortalChange = true },
		"flow":                  func(st *oauthstate.State) { st.Flow = "marketplace" },
		"odd user":              func(st *oauthstate.State) { st.User = "../ \x00\"\\\u2028 ünï {env.X} &<>" },
		"another time zone":     func(st *oauthstate.State) { st.IssuedAt = issued.In(time.FixedZone("x", 3600)) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s, st := sealer(t, "hbdev", newKey), usual()
			change(&st)
			got, err := s.Open(seal(t, s, st), issued.Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			st.App = "hbdev"
			if !got.IssuedAt.Equal(st.IssuedAt) {
				t.Errorf("IssuedAt = %v, want %v", got.IssuedAt, st.IssuedAt)
			}
			got.IssuedAt = st.IssuedAt
			if got != st {
				t.Error("the opened state is not the sealed one")
			}
		})
	}
}

func TestSealedForm(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	one, two := seal(t, s, usual()), seal(t, s, usual())
	if one == two {
		t.Error("the same state is sealed twice to the same text")
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(one) {
		t.Errorf("sealed state %q is not unpadded base64url", one)
	}
	if len(one) > 700 {
		t.Errorf("a usual state takes %d characters", len(one))
	}
	long := usual()
	long.User, long.ReturnTo = strings.Repeat("u", 256), "https://app.example.com/"+strings.Repeat("p", 512)
	if n := len(seal(t, s, long)); n > 1500 {
		t.Errorf("a long state takes %d characters", n)
	}
	query := usual()
	query.ReturnTo = strings.Repeat("&<>", 100)
	if n := len(seal(t, s, query)); n > 900 {
		t.Errorf("300 characters of HTML take %d", n)
	}
	raw, err := base64.RawURLEncoding.DecodeString(one)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"jane", "example", usual().Verifier, usual().Nonce, "hbdev"} {
		if strings.Contains(string(raw), content) || strings.Contains(one, content) {
			t.Errorf("the sealed state shows %q", content)
		}
	}
}

func TestSecretRotation(t *testing.T) {
	before := sealer(t, "hbdev", oldKey)
	during := sealer(t, "hbdev", oldKey, newKey)
	swapped := sealer(t, "hbdev", newKey, oldKey)
	after := sealer(t, "hbdev", newKey, secret.Text{})
	tests := map[string]struct {
		from, to *oauthstate.Sealer
		want     error
	}{
		"made before, opened during":  {before, during, nil},
		"made during, opened before":  {during, before, nil},
		"made before, opened swapped": {before, swapped, nil},
		"made swapped, opened during": {swapped, during, nil},
		"made swapped, opened after":  {swapped, after, nil},
		"the first secret seals":      {swapped, before, oauthstate.ErrMalformed},
		"made before, opened after":   {before, after, oauthstate.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.to.Open(seal(t, tt.from, usual()), issued); !errors.Is(err, tt.want) {
				t.Errorf("Open() = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestOpenByTheClock(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	sealed := seal(t, s, usual())
	tests := map[string]struct {
		after time.Duration
		want  error
	}{
		"at once":                       {0, nil},
		"at the end":                    {oauthstate.Lifetime, nil},
		"after the end":                 {oauthstate.Lifetime + time.Millisecond, oauthstate.ErrExpired},
		"a day later":                   {24 * time.Hour, oauthstate.ErrExpired},
		"sealed by a clock ahead":       {-time.Minute, nil},
		"sealed by a clock too far off": {-time.Minute - time.Millisecond, oauthstate.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, err := s.Open(sealed, issued.Add(tt.after))
			if !errors.Is(err, tt.want) {
				t.Errorf("Open() = %v, want %v", err, tt.want)
			}
			// An old state tells where its browser came from.
			if known := !errors.Is(tt.want, oauthstate.ErrMalformed); (st.ReturnTo == usual().ReturnTo) != known {
				t.Errorf("return_to is known: %v, want %v", !known, known)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	sealed := seal(t, s, usual())
	other := seal(t, sealer(t, "other", newKey), func() oauthstate.State { st := usual(); st.App = "other"; return st }())
	const headerChars = 16
	tests := map[string]struct {
		sealed string
		want   error
	}{
		"empty":               {"", oauthstate.ErrMalformed},
		"garbage":             {"garbage!", oauthstate.ErrMalformed},
		"garbage in base64":   {base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", 200))), oauthstate.ErrMalformed},
		"another app's":       {other, oauthstate.ErrWrongApp},
		"header only":         {sealed[:headerChars], oauthstate.ErrMalformed},
		"cut at the end":      {sealed[:len(sealed)-4], oauthstate.ErrMalformed},
		"cut at the start":    {sealed[4:], oauthstate.ErrMalformed},
		"something appended":  {sealed + "AAAA", oauthstate.ErrMalformed},
		"line break":          {sealed[:20] + "\n" + sealed[20:], oauthstate.ErrMalformed},
		"padded":              {sealed + "=", oauthstate.ErrMalformed},
		"too long":            {sealed + strings.Repeat("A", 4096), oauthstate.ErrMalformed},
		"other app's header":  {other[:headerChars] + sealed[headerChars:], oauthstate.ErrWrongApp},
		"our header on other": {sealed[:headerChars] + other[headerChars:], oauthstate.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, err := s.Open(tt.sealed, issued)
			if !errors.Is(err, tt.want) {
				t.Errorf("Open() = %v, want %v", err, tt.want)
			}
			if st != (oauthstate.State{}) {
				t.Error("a refused state is given out")
			}
			if err != nil && (strings.Contains(err.Error(), "jane") || tt.sealed != "" && strings.Contains(err.Error(), tt.sealed)) {
				t.Errorf("error %q repeats the state", err)
			}
		})
	}
}

func TestEveryBitIsAuthenticated(t *testing.T) {
	s := sealer(t, "hbdev", newKey)
	raw, err := base64.RawURLEncoding.DecodeString(seal(t, s, usual()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		_, err := s.Open(base64.RawURLEncoding.EncodeToString(raw), issued)
		raw[i] ^= 1
		if !errors.Is(err, oauthstate.ErrMalformed) && !errors.Is(err, oauthstate.ErrWrongApp) {
			t.Fatalf("byte %d can be altered: %v", i, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*oauthstate.State)
		want   string
	}{
		"another app":       {func(st *oauthstate.State) { st.App = "other" }, "another app"},
		"no user":           {func(st *oauthstate.State) { st.User = "" }, "user"},
		"no verifier":       {func(st *oauthstate.State) { st.Verifier = "" }, "verifier"},
		"no nonce":          {func(st *oauthstate.State) { st.Nonce = "" }, "nonce"},
		"nonce with space":  {func(st *oauthstate.State) { st.Nonce = "a b" }, "nonce"},
		"nonce with =":      {func(st *oauthstate.State) { st.Nonce = "ab=" }, "nonce"},
		"no time":           {func(st *oauthstate.State) { st.IssuedAt = time.Time{} }, "time"},
		"user not UTF-8":    {func(st *oauthstate.State) { st.User = "ab\xff" }, "UTF-8"},
		"return_to too big": {func(st *oauthstate.State) { st.ReturnTo = strings.Repeat("p", 4000) }, "too long"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st := usual()
			tt.change(&st)
			sealed, err := sealer(t, "hbdev", newKey).Seal(st)
			if err == nil || sealed != "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Seal() = %q, %v; want an error that names %q", sealed, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "jane") {
				t.Errorf("error %q names the user", err)
			}
		})
	}
}

func TestNewSealerRefuses(t *testing.T) {
	if _, err := oauthstate.NewSealer("", newKey); err == nil {
		t.Error("an empty app name is taken")
	}
	for _, secrets := range [][]secret.Text{nil, {secret.Text{}}, {secret.New("")}} {
		if _, err := oauthstate.NewSealer("hbdev", secrets...); err == nil || !strings.Contains(err.Error(), "client secret") {
			t.Errorf("no secret is taken: %v", err)
		}
	}
}

func TestStateCannotPrintItself(t *testing.T) {
	st := usual()
	encoded, err := json.Marshal(map[string]any{"state": st})
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "state", st)
	for _, text := range []string{
		fmt.Sprint(st), fmt.Sprintf("%+v %#v %s %q %x", st, st, st, st, st), fmt.Sprintf("%v", &st), string(encoded), logged.String(),
	} {
		if strings.Contains(text, st.Verifier) || strings.Contains(text, "jane") || strings.Contains(text, fmt.Sprintf("%x", "jane")) {
			t.Errorf("state prints itself: %q", text)
		}
	}
}

// FuzzOpen looks for texts that break Open, or that it takes without having
// sealed them.
func FuzzOpen(f *testing.F) {
	s := sealer(f, "hbdev", newKey, oldKey)
	f.Add("")
	f.Add(seal(f, s, usual()))
	f.Fuzz(func(t *testing.T, sealed string) {
		st, err := s.Open(sealed, issued)
		known := errors.Is(err, oauthstate.ErrMalformed) || errors.Is(err, oauthstate.ErrExpired) || errors.Is(err, oauthstate.ErrWrongApp)
		if err != nil && !known {
			t.Errorf("error %v is none of the three", err)
		}
		if err == nil && st.Nonce != usual().Nonce {
			t.Error("a state is opened that was not sealed")
		}
	})
}

// FuzzRoundTrip looks for states that come out other than they went in.
func FuzzRoundTrip(f *testing.F) {
	s := sealer(f, "hbdev", newKey)
	f.Add("acme", "https://app.example.com/?a=b&c", "hash", "", true, int64(0))
	f.Add("\xff", "\u2028<>&", "\"", "\\", false, int64(-1))
	f.Fuzz(func(t *testing.T, user, returnTo, hash, flow string, portal bool, ms int64) {
		at := issued.Add(time.Duration(ms%int64(oauthstate.Lifetime/time.Millisecond)) * time.Millisecond)
		st := oauthstate.State{
			App: "hbdev", User: user, Verifier: "v", ReturnTo: returnTo, Nonce: "n", BrowserHash: hash,
			AllowPortalChange: portal, IssuedAt: at, Flow: flow,
		}
		sealed, err := s.Seal(st)
		if err != nil {
			return
		}
		got, err := s.Open(sealed, at)
		if err != nil {
			t.Fatal(err)
		}
		if !got.IssuedAt.Equal(at) {
			t.Errorf("IssuedAt = %v, want %v", got.IssuedAt, at)
		}
		got.IssuedAt = at
		if got != st {
			t.Error("the opened state is not the sealed one")
		}
	})
}
