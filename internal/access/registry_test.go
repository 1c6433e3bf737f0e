package access_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestNewCallerRefuses(t *testing.T) {
	key := []secret.Text{secret.New(testKey)}
	for _, tc := range []struct {
		name   string
		config access.CallerConfig
		want   string
	}{
		{"no name", access.CallerConfig{Keys: key}, "a name is 1 to 64"},
		{"colon in name", access.CallerConfig{Name: "a:b", Keys: key}, "a name is 1 to 64"},
		{"long name", access.CallerConfig{Name: strings.Repeat("a", 65), Keys: key}, "a name is 1 to 64"},
		{"dash first", access.CallerConfig{Name: "-a", Keys: key}, "a name is 1 to 64"},
		{"no key", access.CallerConfig{Name: "a"}, "at least one way to know it is needed: key, cert_san, jwt, uid or gid"},
		{"empty key", access.CallerConfig{Name: "a", Keys: []secret.Text{{}}}, "key 1: is empty"},
		{"short key", access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New("planted-19-characte")}}, "key 1: has 19 characters; at least 20"},
		{"long key", access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New(strings.Repeat("planted", 80))}}, "key 1: has 560 characters; at most 512"},
		{"key with space", access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New("planted planted planted")}}, "key 1: holds a space"},
		{"key with newline", access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New("planted-planted-planted\n")}}, "key 1: holds a space"},
		{"short hash", access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New("sha256:abcd")}}, "key 1: must have 64 hex digits"},
		{"hash not hex", access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New("sha256:" + strings.Repeat("z", 64))}}, "key 1: must have 64 hex digits"},
		{"same key twice", access.CallerConfig{Name: "a", Keys: []secret.Text{secret.New(testKey), hashed(testKey)}}, "key 2: is given twice"},
		{"empty app glob", access.CallerConfig{Name: "a", Keys: key, Apps: []string{""}}, "apps: a glob must not be empty"},
		{"impossible app", access.CallerConfig{Name: "a", Keys: key, Apps: []string{"hb dev"}}, `apps: glob "hb dev" can never match`},
		{"app twice", access.CallerConfig{Name: "a", Keys: key, Apps: []string{"a", "a"}}, `apps: glob "a" is given twice`},
		{"empty user glob", access.CallerConfig{Name: "a", Keys: key, Users: []string{"acme", ""}}, "users: a glob must not be empty"},
		{"control in user glob", access.CallerConfig{Name: "a", Keys: key, Users: []string{"ac\nme"}}, "users: glob"},
		{"zero rule", access.CallerConfig{Name: "a", Keys: key, Deny: make([]access.Rule, 1)}, "deny: a rule needs methods"},
		{"rule twice", access.CallerConfig{Name: "a", Keys: key, Allow: parseRules(t, []string{"GET /a", "GET /a"})}, `allow: rule "GET /a" is given twice`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := access.NewCaller(tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error holds the key: %v", err)
			}
		})
	}
}

func hashed(key string) secret.Text {
	sum := sha256.Sum256([]byte(key))
	return secret.New("sha256:" + strings.ToUpper(hex.EncodeToString(sum[:])))
}

func newCaller(t testing.TB, name string, keys ...secret.Text) *access.Caller {
	t.Helper()
	caller, err := access.NewCaller(access.CallerConfig{Name: name, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func TestNewRegistryRefuses(t *testing.T) {
	a := newCaller(t, "Sync", secret.New(testKey))
	for _, tc := range []struct {
		name  string
		other *access.Caller
		want  string
	}{
		{"same name", newCaller(t, "sync", secret.New(testKey+"2")), `caller "sync": there is a caller "Sync" already`},
		{"same key", newCaller(t, "other", secret.New(testKey)), `caller "other": key: caller "Sync" has the same`},
		{"same key hashed", newCaller(t, "other", secret.New(testKey+"2"), hashed(testKey)), `caller "other": key: caller "Sync" has the same`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := access.NewRegistry([]*access.Caller{a, tc.other})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func basic(text string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

func TestAuthenticate(t *testing.T) {
	const oldKey, newKey, otherKey = "old-key-0123456789abcdef", "new:key-0123456789abcdef", "other-key-0123456789abcdef"
	sync := newCaller(t, "crm-sync", secret.New(oldKey), secret.New(newKey))
	other := newCaller(t, "other", hashed(otherKey))
	registry, err := access.NewRegistry([]*access.Caller{sync, other})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		header []string
		want   *access.Caller
		err    error
	}{
		{"bearer", []string{"Bearer " + oldKey}, sync, nil},
		{"second key", []string{"Bearer " + newKey}, sync, nil},
		{"hashed key", []string{"Bearer " + otherKey}, other, nil},
		{"scheme in odd case", []string{"bEARER  " + oldKey}, sync, nil},
		{"basic", []string{basic("crm-sync:" + oldKey)}, sync, nil},
		{"basic, colon in key", []string{basic("crm-sync:" + newKey)}, sync, nil},
		{"basic, name in odd case", []string{basic("CRM-Sync:" + oldKey)}, sync, nil},
		{"basic of another caller", []string{basic("other:" + oldKey)}, nil, access.ErrUnknownKey},
		{"basic without name", []string{basic(":" + oldKey)}, nil, access.ErrUnknownKey},
		{"basic, wrong key", []string{basic("crm-sync:" + oldKey + "x")}, nil, access.ErrUnknownKey},
		{"basic without colon", []string{basic(oldKey)}, nil, access.ErrMalformedCredentials},
		{"basic, not base64", []string{"Basic !!!!"}, nil, access.ErrMalformedCredentials},
		{"basic, too long", []string{basic("crm-sync:" + strings.Repeat("k", 2000))}, nil, access.ErrUnknownKey},
		{"no header", nil, nil, access.ErrNoCredentials},
		{"unknown key", []string{"Bearer " + oldKey + "x"}, nil, access.ErrUnknownKey},
		{"too long", []string{"Bearer " + strings.Repeat("k", 5000)}, nil, access.ErrUnknownKey},
		{"the digest itself", []string{"Bearer " + hashed(otherKey).Reveal()}, nil, access.ErrUnknownKey},
		{"empty header", []string{""}, nil, access.ErrMalformedCredentials},
		{"bearer without key", []string{"Bearer "}, nil, access.ErrMalformedCredentials},
		{"key alone", []string{oldKey}, nil, access.ErrMalformedCredentials},
		{"other scheme", []string{"Digest " + oldKey}, nil, access.ErrMalformedCredentials},
		{"two in one", []string{"Bearer " + oldKey + ", Bearer " + oldKey}, nil, access.ErrMalformedCredentials},
		{"two headers", []string{"Bearer " + oldKey, "Bearer " + oldKey}, nil, access.ErrMalformedCredentials},
	} {
		t.Run(tc.name, func(t *testing.T) {
			caller, err := registry.Authenticate(http.Header{"Authorization": tc.header})
			if caller != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("got %v, %v, want %v, %v", caller, err, tc.want, tc.err)
			}
		})
	}
	if registry.Len() != 2 {
		t.Errorf("Len() = %d, want 2", registry.Len())
	}
}

func TestEmptyRegistry(t *testing.T) {
	for name, registry := range map[string]*access.Registry{"zero": {}, "none": mustRegistry(t)} {
		caller, err := registry.Authenticate(http.Header{"Authorization": {"Bearer " + testKey}})
		if caller != nil || !errors.Is(err, access.ErrUnknownKey) {
			t.Errorf("%s: got %v, %v, want ErrUnknownKey", name, caller, err)
		}
	}
}

func mustRegistry(t testing.TB, callers ...*access.Caller) *access.Registry {
	t.Helper()
	registry, err := access.NewRegistry(callers)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

func TestCallerDoesNotPrintItsKey(t *testing.T) {
	caller := newCaller(t, "a", secret.New(testKey))
	sum := sha256.Sum256([]byte(testKey))
	for _, verb := range []string{"%v", "%+v", "%s"} {
		out := fmt.Sprintf(verb, caller)
		if strings.Contains(out, testKey) || strings.Contains(out, fmt.Sprint(sum[:4])) {
			t.Errorf("%s prints the key: %s", verb, out)
		}
	}
}

func TestAuthenticateAllocates(t *testing.T) {
	key := strings.Repeat(testKey, 3)
	registry := mustRegistry(t, newCaller(t, "crm-sync", secret.New(key)))
	for name, want := range map[string]float64{"Bearer " + key: 0, basic("crm-sync:" + key): 2} {
		header := http.Header{"Authorization": {name}}
		n := testing.AllocsPerRun(100, func() {
			if _, err := registry.Authenticate(header); err != nil {
				t.Fatal(err)
			}
		})
		if n > want {
			t.Errorf("%s: %v allocations, want at most %v", strings.Fields(name)[0], n, want)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	var callers []*access.Caller
	for i := range 100 {
		callers = append(callers, newCaller(b, fmt.Sprintf("caller-%d", i), secret.New(fmt.Sprintf("%s-%d", testKey, i))))
	}
	registry := mustRegistry(b, callers...)
	for name, value := range map[string]string{
		"bearer": "Bearer " + testKey + "-42",
		"basic":  basic("caller-42:" + testKey + "-42"),
	} {
		b.Run(name, func(b *testing.B) {
			header := http.Header{"Authorization": {value}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := registry.Authenticate(header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	caller := callerWith(b, []string{"GET,POST /crm/*", "* /files/*"}, []string{"* /crm/*/gdpr-delete", "DELETE *"})
	for name, path := range map[string]string{
		"plain": "/crm/objects/2026-09/contacts/1234567",
		"odd":   "/crm/objects/2026-09/contacts/a%2Fb%20c",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				readings, err := access.Readings(path)
				if err != nil {
					b.Fatal(err)
				}
				if blocked, err := access.Judge(readings, access.Blocked); blocked || err != nil {
					b.Fatal(blocked, err)
				}
				if err := caller.Check("hbdev", "acme", "GET", readings); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
