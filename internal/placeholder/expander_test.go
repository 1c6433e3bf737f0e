package placeholder_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

var errUnknown = errors.New("unknown placeholder")

// fixed expands values that are known, and counts what it is asked for.
type fixed struct {
	values map[string]string
	asked  []string
}

func (f *fixed) expand(value string) (string, error) {
	f.asked = append(f.asked, value)
	expanded, ok := f.values[value]
	if !ok {
		return "planted", errUnknown
	}
	return expanded, nil
}

func TestExpander(t *testing.T) {
	t.Parallel()
	known := &fixed{values: map[string]string{"{env.A}": " a\n", "{env.LIST}": "b  c\n", "{file./k}": "key-1\n"}}
	e := placeholder.NewExpander(known.expand)
	if got := e.Text("one", "{env.A}"); got != "a" {
		t.Errorf("Text = %q", got)
	}
	if got := e.Text("two", " {plain "); got != " {plain " {
		t.Errorf("Text of a literal = %q", got)
	}
	if got, want := e.List("three", []string{"x", "{env.LIST}", "y z"}), []string{"x", "b", "c", "y z"}; !reflect.DeepEqual(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
	if got := e.List("four", nil); got != nil {
		t.Errorf("List of nothing = %q", got)
	}
	if got := e.Secret("five", "{file./k}"); got.Reveal() != "key-1" {
		t.Errorf("Secret = %q", got.Reveal())
	}
	if got := e.Secret("six", ""); !got.IsZero() {
		t.Errorf("Secret of nothing = %q", got.Reveal())
	}
	if err := e.Err(); err != nil {
		t.Error(err)
	}
	if want := []string{"{env.A}", "{env.LIST}", "{file./k}"}; !reflect.DeepEqual(known.asked, want) {
		t.Errorf("asked for %q, want %q", known.asked, want)
	}
}

func TestListIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	values := []string{"a", "b"}
	got := placeholder.NewExpander(nil).List("x", values)
	got[0] = "changed"
	if values[0] != "a" {
		t.Error("the list shares memory with the setting")
	}
}

func TestExpanderErrors(t *testing.T) {
	t.Parallel()
	known := map[string]string{"{env.BLANK}": " \n", "{env.OK}": "planted"}
	for name, tc := range map[string]struct {
		use  func(e *placeholder.Expander)
		want string
	}{
		"unknown text":     {func(e *placeholder.Expander) { e.Text("s", "{env.X}") }, "s: unknown placeholder"},
		"blank text":       {func(e *placeholder.Expander) { e.Text("s", "{env.BLANK}") }, "s: is empty once its placeholder is expanded"},
		"unknown item":     {func(e *placeholder.Expander) { e.List("s", []string{"a", "{env.X}"}) }, "s: unknown placeholder"},
		"blank item":       {func(e *placeholder.Expander) { e.List("s", []string{"{env.BLANK}"}) }, "s: is empty once"},
		"unknown secret":   {func(e *placeholder.Expander) { e.Secret("s", "{env.X}") }, "s: unknown placeholder"},
		"blank secret":     {func(e *placeholder.Expander) { e.Secret("s", "{env.BLANK}") }, "s: is empty once"},
		"literal secret":   {func(e *placeholder.Expander) { e.Secret("s", "planted") }, "s: " + placeholder.LiteralSecret},
		"secret in a text": {func(e *placeholder.Expander) { e.Secret("s", "planted{env.OK}") }, "s: " + placeholder.LiteralSecret},
		"the first of two": {func(e *placeholder.Expander) {
			e.Text("fine", "{env.OK}")
			e.Text("s", "{env.X}")
			e.Secret("t", "planted")
			e.Text("u", "{env.BLANK}")
		}, "s: unknown placeholder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := placeholder.NewExpander((&fixed{values: known}).expand)
			tc.use(e)
			err := e.Err()
			wrong, ok := errors.AsType[*placeholder.Error](err)
			if !ok || wrong.Setting != "s" || !strings.HasPrefix(err.Error(), tc.want) {
				t.Fatalf("error %v, want %s…", err, tc.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error holds a value: %v", err)
			}
			if strings.HasSuffix(tc.want, errUnknown.Error()) && !errors.Is(err, errUnknown) {
				t.Errorf("%v does not wrap its cause", err)
			}
		})
	}
}

func TestNothingIsExpandedAfterAnError(t *testing.T) {
	t.Parallel()
	known := &fixed{values: map[string]string{"{env.OK}": "ok"}}
	e := placeholder.NewExpander(known.expand)
	e.Text("s", "{env.X}")
	e.Text("t", "{env.OK}")
	e.List("u", []string{"{env.OK}"})
	e.Secret("v", "{env.OK}")
	if want := []string{"{env.X}"}; !reflect.DeepEqual(known.asked, want) {
		t.Errorf("asked for %q, want %q", known.asked, want)
	}
}
