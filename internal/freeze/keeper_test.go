package freeze_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
)

var (
	acme  = freeze.Call{App: "hbdev", User: "acme", Caller: "crm-sync"}
	errBy = fmt.Errorf("the policy: %w", connection.ErrDenied)
	errNo = fmt.Errorf("vault is away: %w", connection.ErrUnavailable)
)

// TestEverySidecarObeys freezes at one and asks another.
func TestEverySidecarObeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(store)
		one, two := keeper(t, freeze.Config{Store: shared}), keeper(t, freeze.Config{Store: shared})
		one.Start()
		two.Start()
		synctest.Wait()
		for range 50 {
			mustFreeze(t, one, freeze.Selector{User: "acme"})
			if !frozen(t, one, acme) {
				t.Fatal("not in force where it was ordered")
			}
			time.Sleep(2500 * time.Millisecond)
			synctest.Wait()
			if !frozen(t, two, acme) {
				t.Fatal("not in force at another sidecar in 2.5 s")
			}
			if err := two.UnfreezeAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2500 * time.Millisecond)
			synctest.Wait()
			if !one.None() {
				t.Fatal("not lifted at another sidecar in 2.5 s")
			}
		}
	})
}

// TestReadingIsSeldom counts the loads of a minute.
func TestReadingIsSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			fail        error
			least, most int
		}{
			"working": {nil, 25, 38},
			"away":    {errNo, 100, 150},
			"denied":  {errBy, 1, 3},
		} {
			s := &store{fail: tc.fail}
			k := keeper(t, freeze.Config{Store: s})
			k.Start()
			time.Sleep(time.Minute)
			k.Close()
			if s.loads < tc.least || s.loads > tc.most {
				t.Errorf("%s: %d loads in a minute; want %d to %d", name, s.loads, tc.least, tc.most)
			}
		}
	})
}

// TestBeforeTheFirstReading has calls wait for it.
func TestBeforeTheFirstReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{hold: make(chan struct{})}
		seed := keeper(t, freeze.Config{Store: &store{}})
		mustFreeze(t, seed, freeze.Selector{User: "acme"})
		k := keeper(t, freeze.Config{Store: s})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if frozen(t, k, acme) {
					t.Error("frozen by nobody")
				}
			})
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Check(impatient, acme); !errors.Is(err, freeze.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Check with a short context = %v; want ErrUnknown and the context's", err)
		}
		synctest.Wait()
		close(s.hold)
		wg.Wait()
		if !k.None() || s.loads > 2 {
			t.Errorf("known: %v after %d loads; want at most two", k.None(), s.loads)
		}
	})
}

// TestStoreAwayAtTheStart refuses what it cannot judge, and only as long.
func TestStoreAwayAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{fail: errNo}
		k := keeper(t, freeze.Config{Store: s})
		k.Start()
		synctest.Wait()
		for range 3 {
			if _, err := k.Check(t.Context(), acme); !errors.Is(err, freeze.ErrUnknown) || !errors.Is(err, connection.ErrUnavailable) {
				t.Errorf("Check = %v; want ErrUnknown for ErrUnavailable", err)
			}
		}
		if r := k.Report(); r.Known || !errors.Is(r.Problem, connection.ErrUnavailable) {
			t.Errorf("Report = %+v", r)
		}
		s.failing(nil)
		// The call itself has it looked at: nothing waits for the next turn.
		if frozen(t, k, acme) {
			t.Error("frozen by nobody")
		}
	})
}

// TestLastListHolds takes the store away, in every manner.
func TestLastListHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, err := range map[string]error{
			"away": errNo, "denied": errBy, "damaged": connection.ErrCorrupt,
		} {
			s, out := new(store), new(logtest.Buffer)
			k := keeper(t, freeze.Config{Store: s, Logger: out.Logger()})
			mustFreeze(t, k, freeze.Selector{User: "acme"})
			k.Start()
			synctest.Wait()
			s.failing(err)
			time.Sleep(time.Hour)
			if !frozen(t, k, acme) {
				t.Errorf("%s: the freeze was forgotten", name)
			}
			if got := strings.Count(out.String(), "the last known one holds"); got != 1 {
				t.Errorf("%s: warned %d times; want once: %s", name, got, out.String())
			}
			s.failing(nil)
			time.Sleep(2 * time.Minute)
			if !strings.Contains(out.String(), "can be read again") || k.Report().Problem != nil {
				t.Errorf("%s: still failing: %v", name, k.Report().Problem)
			}
			k.Close()
			if !frozen(t, k, acme) {
				t.Errorf("%s: closing forgot the freeze", name)
			}
		}
	})
}

// TestLaggingReplica gives the version before for a while, and a restored
// backup that stays.
func TestLaggingReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store)
		k := keeper(t, freeze.Config{Store: s})
		k.Start()
		synctest.Wait()
		mustFreeze(t, k, freeze.Selector{User: "acme"})
		s.set(func(s *store) { s.lagging = 4 })
		for range 20 {
			time.Sleep(time.Second)
			if !frozen(t, k, acme) {
				t.Fatal("a replica that lags behind lifted the freeze")
			}
		}
		s.set(func(s *store) { s.version = 0 })
		time.Sleep(15 * time.Second)
		if frozen(t, k, acme) {
			t.Error("a list that is gone for good still holds")
		}
	})
}

// TestDeniedFromTheStart serves without freezes, and says so once.
func TestDeniedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := &store{fail: errBy}, new(logtest.Buffer)
		k := keeper(t, freeze.Config{Store: s, Logger: out.Logger()})
		if frozen(t, k, acme) {
			t.Error("frozen by nobody")
		}
		time.Sleep(time.Hour)
		if got := strings.Count(out.String(), "level=WARN"); got != 1 || !strings.Contains(out.String(), "the policy") {
			t.Errorf("warned %d times; want once, with the reason: %s", got, out.String())
		}
		if err := k.Freeze(t.Context(), freeze.Freeze{}); !errors.Is(err, connection.ErrDenied) {
			t.Errorf("Freeze = %v; want ErrDenied", err)
		}
		s.failing(nil)
		mustFreeze(t, k, freeze.Selector{User: "acme"})
		if !frozen(t, k, acme) || k.Report().Problem != nil {
			t.Errorf("after the policy was mended: %+v", k.Report())
		}
	})
}

// TestCopies starts without the store.
func TestCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := new(store), new(copies)
		first := keeper(t, freeze.Config{Store: s, Copies: c})
		first.Start()
		synctest.Wait()
		start := func() *freeze.Keeper {
			k := keeper(t, freeze.Config{Store: s, Copies: c})
			k.Start()
			synctest.Wait()
			return k
		}
		s.failing(errNo)
		if k := start(); frozen(t, k, acme) {
			t.Error("frozen by a copy that is not there")
		}
		s.failing(nil)
		mustFreeze(t, first, freeze.Selector{User: "acme"})
		s.failing(errNo)
		second := start()
		if !frozen(t, second, acme) {
			t.Error("the copy was not used")
		}
		s.failing(nil)
		if err := first.UnfreezeAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if !second.None() {
			t.Error("the copy outlived what the store said")
		}
		if _, _, err := c.RecallDocument("freezes"); !errors.Is(err, connection.ErrNotFound) {
			t.Error("a copy of nothing is kept")
		}
		c.failing(connection.ErrCorrupt)
		s.failing(errNo)
		if _, err := start().Check(t.Context(), acme); !errors.Is(err, freeze.ErrUnknown) {
			t.Errorf("Check with a damaged copy = %v; want ErrUnknown", err)
		}
	})
}

// TestConflicts lets another sidecar get ahead.
func TestConflicts(t *testing.T) {
	s := new(store)
	one, two := keeper(t, freeze.Config{Store: s}), keeper(t, freeze.Config{Store: s})
	s.beforeSave = func() { mustFreeze(t, two, freeze.Selector{User: "globex"}) }
	mustFreeze(t, one, freeze.Selector{User: "acme"})
	if got := one.Report().Freezes; len(got) != 2 {
		t.Errorf("freezes = %+v; want both", got)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { mustFreeze(t, one, freeze.Selector{User: fmt.Sprint("one ", i)}) })
		wg.Go(func() { mustFreeze(t, two, freeze.Selector{User: fmt.Sprint("two ", i)}) })
	}
	wg.Wait()
	last := keeper(t, freeze.Config{Store: s})
	if !frozen(t, last, acme) || len(last.Report().Freezes) != 10 {
		t.Errorf("freezes = %+v; want 10", last.Report().Freezes)
	}
}

// TestDamagedList cannot be added to, only replaced by nothing.
func TestDamagedList(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":      "planted-user",
		"newer format": `{"format":2,"freezes":[]}`,
		"no format":    `{"freezes":[{"user":"acme"}]}`,
		"bad entry":    `{"format":1,"freezes":[{"user":"a\u0000b","since":"2026-01-01T00:00:00Z"}]}`,
	} {
		k := keeper(t, freeze.Config{Store: &store{text: text, version: 3}})
		_, err := k.Check(t.Context(), acme)
		if !errors.Is(err, freeze.ErrUnknown) || !errors.Is(err, connection.ErrCorrupt) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: Check = %v; want ErrUnknown for ErrCorrupt", name, err)
		}
		if err := k.Freeze(t.Context(), freeze.Freeze{}); !errors.Is(err, connection.ErrCorrupt) {
			t.Errorf("%s: Freeze = %v; want ErrCorrupt", name, err)
		}
		if err := k.UnfreezeAll(t.Context()); err != nil || !k.None() {
			t.Errorf("%s: UnfreezeAll = %v", name, err)
		}
	}
}

// TestNoDocumentStore is a store of somebody else's.
func TestNoDocumentStore(t *testing.T) {
	k := keeper(t, freeze.Config{})
	k.Start()
	if !k.None() || !k.Report().Known {
		t.Error("something is frozen")
	}
	for _, err := range []error{
		k.Freeze(t.Context(), freeze.Freeze{}), k.Unfreeze(t.Context(), freeze.Selector{}), k.UnfreezeAll(t.Context()), k.Report().Problem,
	} {
		if !errors.Is(err, freeze.ErrNotKept) {
			t.Errorf("error = %v; want ErrNotKept", err)
		}
	}
}

// TestChanged tells of every freeze once.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store)
		mustFreeze(t, keeper(t, freeze.Config{Store: s}), freeze.Selector{User: "found"})
		var told []string
		k := keeper(t, freeze.Config{Store: s, Changed: func(added, lifted []freeze.Freeze) {
			for _, f := range added {
				told = append(told, "+"+f.User)
			}
			for _, f := range lifted {
				told = append(told, "-"+f.User)
			}
		}})
		k.Start()
		synctest.Wait()
		mustFreeze(t, k, freeze.Selector{User: "own"})
		mustFreeze(t, keeper(t, freeze.Config{Store: s}), freeze.Selector{User: "other"})
		time.Sleep(10 * time.Second)
		if err := k.UnfreezeAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(told, " "); got != "+found +own +other -found -own -other" {
			t.Errorf("told: %s", got)
		}
	})
}

func TestCloseBeforeStart(t *testing.T) {
	k := freeze.New(freeze.Config{Store: new(store)})
	k.Close()
	k.Start()
	if _, err := k.Check(t.Context(), acme); !errors.Is(err, freeze.ErrUnknown) {
		t.Errorf("Check = %v; want ErrUnknown", err)
	}
}
