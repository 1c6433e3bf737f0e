package pool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestKeysTellSettingsApart(t *testing.T) {
	t.Parallel()
	type one struct{ A []string }
	type two struct{ A, B []string }
	keys := map[string]Key{
		"empty":            KeyOf("k", struct{}{}),
		"another kind":     KeyOf("l", struct{}{}),
		"one value":        KeyOf("k", one{A: []string{"bc"}}),
		"split elsewhere":  KeyOf("k", struct{ AB []string }{[]string{"c"}}),
		"two values":       KeyOf("k", one{A: []string{"b", "c"}}),
		"two settings":     KeyOf("k", two{A: []string{"b"}, B: []string{"c"}}),
		"another order":    KeyOf("k", struct{ B, A []string }{[]string{"c"}, []string{"b"}}),
		"setting with nil": KeyOf("k", one{}),
		"pointer to none":  KeyOf("k", struct{ A *string }{}),
		"pointer to empty": KeyOf("k", struct{ A *string }{new(string)}),
		"another type":     KeyOf("k", struct{ A any }{"1"}),
		"same digits":      KeyOf("k", struct{ A any }{[]string{"1"}}),
	}
	seen := make(map[Key]string)
	for name, key := range keys {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[key] = name
	}
	if KeyOf("k", one{A: []string{"bc"}}) != keys["one value"] {
		t.Error("the same settings have different keys")
	}
	if KeyOf("k", one{A: []string{}}) != keys["setting with nil"] {
		t.Error("an empty list has another key than none")
	}
}

// everyKind has a field of each kind that a key may be made of.
type everyKind struct {
	Text     string
	Named    named
	Number   int
	Small    uint16
	Ratio    float64
	Flag     bool
	Time     time.Duration
	List     []string
	Numbers  []uint32
	Fixed    [2]string
	Map      map[string]int
	Secret   secret.Text
	Pointer  *inner
	Any      any
	Inner    inner
	List2    []inner
	Other    Key
	Optional *string
}

type named string

type inner struct {
	Name   string
	Secret secret.Text
}

func everything() everyKind {
	return everyKind{
		Text: "a", Named: "b", Number: 1, Small: 2, Ratio: 3, Flag: true, Time: time.Second,
		List: []string{"c", "d"}, Numbers: []uint32{4}, Fixed: [2]string{"e", "f"}, Map: map[string]int{"g": 5, "h": 6},
		Secret: secret.New("i"), Pointer: &inner{Name: "j", Secret: secret.New("k")}, Any: inner{Name: "l"},
		Inner: inner{Name: "m", Secret: secret.New("n")}, List2: []inner{{Name: "o"}}, Other: KeyOf("p", struct{ A string }{"q"}),
		Optional: new("r"),
	}
}

// TestChangedFieldChangesKey goes over a struct with a field of each kind: a
// setting that is not in the key of the value that it shapes would not take
// effect before a restart.
func TestChangedFieldChangesKey(t *testing.T) {
	t.Parallel()
	before := KeyOf("k", everything())
	if before != KeyOf("k", everything()) {
		t.Fatal("equal settings have different keys")
	}
	changes := map[string]func(*everyKind){
		"Text":            func(e *everyKind) { e.Text = "x" },
		"Named":           func(e *everyKind) { e.Named = "x" },
		"Number":          func(e *everyKind) { e.Number = -1 },
		"Small":           func(e *everyKind) { e.Small++ },
		"Ratio":           func(e *everyKind) { e.Ratio = 3.5 },
		"Flag":            func(e *everyKind) { e.Flag = false },
		"Time":            func(e *everyKind) { e.Time++ },
		"List":            func(e *everyKind) { e.List = []string{"cd"} },
		"Numbers":         func(e *everyKind) { e.Numbers[0] = 5 },
		"Fixed":           func(e *everyKind) { e.Fixed[1] = "x" },
		"Map":             func(e *everyKind) { e.Map["h"] = 7 },
		"Map, its keys":   func(e *everyKind) { delete(e.Map, "h"); e.Map["x"] = 6 },
		"Secret":          func(e *everyKind) { e.Secret = secret.New("x") },
		"Pointer":         func(e *everyKind) { e.Pointer = nil },
		"Pointer, within": func(e *everyKind) { e.Pointer.Secret = secret.New("x") },
		"Any":             func(e *everyKind) { e.Any = struct{ Name string }{"l"} },
		"Inner":           func(e *everyKind) { e.Inner.Secret = secret.Text{} },
		"List2":           func(e *everyKind) { e.List2[0].Secret = secret.New("x") },
		"Other":           func(e *everyKind) { e.Other = KeyOf("p", struct{ A string }{"x"}) },
		"Optional":        func(e *everyKind) { e.Optional = nil },
	}
	for name, change := range changes {
		changed := everything()
		change(&changed)
		if KeyOf("k", changed) == before {
			t.Errorf("%s: the changed settings have the same key", name)
		}
	}
	for field := range reflect.TypeFor[everyKind]().Fields() {
		if changes[field.Name] == nil {
			t.Errorf("no change of %s is tried", field.Name)
		}
	}
}

func TestKeysRefuseWhatTheyCannotRead(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]any{
		"function":         struct{ F func() }{},
		"channel":          struct{ C chan int }{},
		"unexported field": struct{ a string }{"a"},
		"nothing":          nil,
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: was made part of a key", name)
				}
			}()
			KeyOf("k", settings)
		}()
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	const planted = "planted-secret"
	key := KeyOf("store", struct{ Token, Text any }{secret.New(planted), planted})
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s\n", key, key, key, key)
	if strings.Contains(out.String(), planted) || strings.Contains(out.String(), fmt.Sprintf("%x", planted)) {
		t.Errorf("output holds the secret: %s", out.String())
	}
}

// counted is a pooled value that counts its ends.
type counted struct{ ends *int }

func (c *counted) Destruct() error {
	*c.ends++
	return nil
}

func TestAcquire(t *testing.T) {
	t.Parallel()
	key := KeyOf("test", struct{}{})
	ends := 0
	construct := func() (*counted, error) { return &counted{&ends}, nil }
	first, releaseFirst, err := Acquire(key, construct)
	if err != nil {
		t.Fatal(err)
	}
	second, releaseSecond, err := Acquire(key, construct)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Error("the second Acquire made another value")
	}
	releaseFirst()
	releaseFirst()
	if ends != 0 {
		t.Error("releasing one of two uses twice ended the value")
	}
	releaseSecond()
	if ends != 1 {
		t.Errorf("the value ended %d times, want once", ends)
	}

	broken := errors.New("broken")
	if _, _, err := Acquire(key, func() (*counted, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error: %v, want %v", err, broken)
	}
	if refs := References(key); refs != 0 {
		t.Errorf("a failed Acquire left %d references", refs)
	}
}

func TestNewest(t *testing.T) {
	t.Parallel()
	var n Newest[string]
	if _, ok := n.Get(); ok {
		t.Error("an empty newest has a value")
	}
	want := func(value string) {
		t.Helper()
		if got, _ := n.Get(); got != value {
			t.Errorf("newest: %q, want %q", got, value)
		}
	}
	detachA := n.Attach("a")
	detachB := n.Attach("b")
	want("b")
	detachB()
	want("a") // b failed to load: a goes on
	detachC := n.Attach("c")
	detachA()
	detachA()
	want("c") // c replaced a
	detachC()
	want("c") // requests of c may still run
}

func TestNewestHandler(t *testing.T) {
	t.Parallel()
	var first, second bytes.Buffer
	var all Newest[slog.Handler]
	logger := slog.New(Handler(&all))
	logger.Info("lost") // no config yet
	all.Attach(slog.NewTextHandler(&first, nil))
	with := logger.With("store", "vault").WithGroup("login").With("method", "approle")
	with.Info("one")
	all.Attach(slog.NewTextHandler(&second, nil))
	with.Info("two", "ok", true)
	with.Debug("not enabled")
	if got := first.String(); !strings.Contains(got, "msg=one store=vault login.method=approle") || strings.Contains(got, "two") {
		t.Errorf("first log: %s", got)
	}
	if got := second.String(); !strings.Contains(got, "msg=two store=vault login.method=approle login.ok=true") || strings.Contains(got, "not enabled") {
		t.Errorf("second log: %s", got)
	}
}
