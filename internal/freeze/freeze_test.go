package freeze_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

func TestMatching(t *testing.T) {
	call := freeze.Call{App: "hbdev", User: "acme", Caller: "crm-sync"}
	write, nobody, tending, endings := call, call, call, call
	write.Writes = true
	nobody.Caller = ""
	tending.Tending = true
	endings.Tending, endings.Writes = true, true
	for name, tc := range map[string]struct {
		selector freeze.Selector
		call     freeze.Call
		want     bool
	}{
		"everything":                    {freeze.Selector{}, call, true},
		"everything, no caller":         {freeze.Selector{}, nobody, true},
		"all writes, a read":            {freeze.Selector{Writes: true}, call, false},
		"all writes, a write":           {freeze.Selector{Writes: true}, write, true},
		"the app":                       {freeze.Selector{App: "hbdev"}, call, true},
		"the app in another case":       {freeze.Selector{App: "HbDev"}, call, true},
		"another app":                   {freeze.Selector{App: "hbdev2"}, call, false},
		"the user":                      {freeze.Selector{User: "acme"}, call, true},
		"the user in another case":      {freeze.Selector{User: "Acme"}, call, false},
		"a glob is no glob":             {freeze.Selector{User: "*"}, call, false},
		"the caller":                    {freeze.Selector{Caller: "CRM-Sync"}, call, true},
		"a caller, and none called":     {freeze.Selector{Caller: "crm-sync"}, nobody, false},
		"all parts":                     {freeze.Selector{App: "hbdev", User: "acme", Caller: "crm-sync", Writes: true}, write, true},
		"all parts, a read":             {freeze.Selector{App: "hbdev", User: "acme", Caller: "crm-sync", Writes: true}, call, false},
		"one part of two":               {freeze.Selector{App: "hbdev", User: "globex"}, call, false},
		"tending, the user frozen":      {freeze.Selector{User: "acme"}, tending, false},
		"tending, everything frozen":    {freeze.Selector{}, tending, false},
		"tending, the caller frozen":    {freeze.Selector{Caller: "crm-sync"}, tending, true},
		"tending, the caller's writes":  {freeze.Selector{Caller: "crm-sync", Writes: true}, tending, false},
		"ending, the caller's writes":   {freeze.Selector{Caller: "crm-sync", Writes: true}, endings, true},
		"tending, caller and this user": {freeze.Selector{Caller: "crm-sync", User: "acme"}, tending, true},
		"tending, caller, another user": {freeze.Selector{Caller: "crm-sync", User: "globex"}, tending, false},
	} {
		k := keeper(t, freeze.Config{Store: new(store)})
		mustFreeze(t, k, tc.selector)
		if got := frozen(t, k, tc.call); got != tc.want {
			t.Errorf("%s: frozen = %v; want %v", name, got, tc.want)
		}
	}
}

func TestDimensions(t *testing.T) {
	for selector, want := range map[freeze.Selector]string{
		{}:                                 "everything",
		{Writes: true}:                     "everything writes",
		{App: "secret"}:                    "app",
		{User: "secret", Writes: true}:     "user writes",
		{App: "a", User: "b", Caller: "c"}: "app user caller",
	} {
		if got := strings.Join(selector.Dimensions(), " "); got != want {
			t.Errorf("Dimensions of %+v = %q; want %q", selector, got, want)
		}
	}
}

func TestWhatCannotBeFrozen(t *testing.T) {
	s := new(store)
	k := keeper(t, freeze.Config{Store: s})
	for name, f := range map[string]freeze.Freeze{
		"long user":      {Selector: freeze.Selector{User: strings.Repeat("x", 1025)}},
		"long reason":    {Reason: strings.Repeat("x", 501)},
		"broken user":    {Selector: freeze.Selector{User: "a\xffb"}},
		"line in reason": {Reason: "a\nb"},
	} {
		err := k.Freeze(t.Context(), f)
		if !errors.Is(err, freeze.ErrInvalid) || strings.Contains(fmt.Sprint(err), "xxx") {
			t.Errorf("%s: error = %v; want ErrInvalid without the value", name, err)
		}
	}
	if s.version != 0 {
		t.Error("something was stored")
	}
	full := make([]freeze.Freeze, 1000)
	for i := range full {
		full[i].User = fmt.Sprint("user ", i)
	}
	text, err := json.Marshal(map[string]any{"format": 1, "freezes": full})
	if err != nil {
		t.Fatal(err)
	}
	s.text, s.version = string(text), 1
	if err := k.Freeze(t.Context(), freeze.Freeze{}); !errors.Is(err, freeze.ErrInvalid) {
		t.Errorf("freeze 1001: error = %v; want ErrInvalid", err)
	}
}

func TestUnfreeze(t *testing.T) {
	k := keeper(t, freeze.Config{Store: new(store)})
	all := []freeze.Selector{{User: "acme"}, {User: "acme", Writes: true}, {App: "hbdev", User: "acme"}, {}}
	for _, s := range all {
		mustFreeze(t, k, s)
		mustFreeze(t, k, s)
	}
	selectors := func() []freeze.Selector {
		var found []freeze.Selector
		for _, f := range k.Report().Freezes {
			found = append(found, f.Selector)
		}
		return found
	}
	if got := selectors(); !slices.Equal(got, all) {
		t.Fatalf("frozen: %+v; want each once: %+v", got, all)
	}
	for _, s := range []freeze.Selector{{User: "Acme"}, {App: "hbdev"}, {Writes: true}, {Caller: "acme"}} {
		if err := k.Unfreeze(t.Context(), s); !errors.Is(err, freeze.ErrNoSuchFreeze) {
			t.Errorf("Unfreeze of %+v = %v; want ErrNoSuchFreeze", s, err)
		}
	}
	if err := k.Unfreeze(t.Context(), freeze.Selector{App: "HBDEV", User: "acme"}); err != nil {
		t.Errorf("Unfreeze of an app in another case = %v", err)
	}
	if err := k.Unfreeze(t.Context(), all[0]); err != nil {
		t.Error(err)
	}
	if got := selectors(); !slices.Equal(got, []freeze.Selector{all[1], all[3]}) {
		t.Errorf("left: %+v", got)
	}
	if err := k.UnfreezeAll(t.Context()); err != nil || !k.None() {
		t.Errorf("UnfreezeAll = %v, nothing frozen: %v", err, k.None())
	}
	if err := k.UnfreezeAll(t.Context()); err != nil {
		t.Errorf("UnfreezeAll of nothing = %v", err)
	}
}

// BenchmarkCheck is what a request costs.
func BenchmarkCheck(b *testing.B) {
	call := freeze.Call{App: "hbdev", User: "acme", Caller: "crm-sync"}
	for _, n := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprint(n, " freezes"), func(b *testing.B) {
			k := keeper(b, freeze.Config{Store: new(store)})
			for i := range n {
				f := freeze.Freeze{Selector: freeze.Selector{App: "hbdev", User: fmt.Sprint("user", i)}}
				if err := k.Freeze(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
			if n == 0 {
				if err := k.UnfreezeAll(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if k.None() {
					continue
				}
				if f, err := k.Check(b.Context(), call); f != nil || err != nil {
					b.Fatal("frozen")
				}
			}
		})
	}
}
