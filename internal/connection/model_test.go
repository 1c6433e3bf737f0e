package connection_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	modelSchedules = flag.Int("model.schedules", 100, "schedules that the model test tries per kind")
	modelShrink    = flag.Bool("model.shrink", true, "look for the shortest failing schedule")
	modelSeed      = flag.Uint64("model.seed", 1, "first seed of the model test")
)

// kind is what may go wrong in a schedule.
type kind struct {
	name     string
	rotating bool
	faults   bool // the store fails, loses answers, answers late
	crashes  bool
}

var kinds = []kind{
	{name: "calm, stable refresh tokens"},
	{name: "calm, rotating", rotating: true},
	{name: "store faults, stable", faults: true},
	{name: "store faults, rotating", rotating: true, faults: true},
	{name: "crashes, rotating", rotating: true, crashes: true},
	{name: "crashes and store faults, stable", faults: true, crashes: true},
	{name: "crashes and store faults, rotating", rotating: true, faults: true, crashes: true},
}

const (
	modelProcesses = 3
	modelSteps     = 150
)

// choices is a schedule: the numbers that decide, one after the other. Those
// that are not recorded are drawn, or 0 in a replay, which is "go on".
type choices struct {
	taken []int
	next  int
	rng   *rand.Rand // nil in a replay
}

func (c *choices) choose(n int) int {
	pick := 0
	switch {
	case c.next < len(c.taken):
		pick = c.taken[c.next] % n
	case c.rng != nil:
		pick = c.rng.IntN(n)
		c.taken = append(c.taken, pick)
	}
	c.next++
	return pick
}

// ended reports whether a replay has no more to say.
func (c *choices) ended() bool { return c.rng == nil && c.next >= len(c.taken) }

// TestModel explores interleavings, faults and crashes of several processes
// that share one store, and holds the promises of the claim protocol:
// no refresh token is used twice and no fresh token refreshed unless a result
// was lost with its process; no connection is lost otherwise; no record is
// torn; and when the faults end, everybody is served.
func TestModel(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for seed := *modelSeed; seed < *modelSeed+uint64(*modelSchedules); seed++ {
				c := &choices{rng: rand.New(rand.NewPCG(seed, 0))}
				if w := k.run(t, c, seed); len(w.violations) > 0 {
					if *modelShrink {
						w = k.shrink(t, c.taken, w, seed)
					}
					t.Fatalf("seed %d: %s\n%s", seed, w.violations[0], w.story())
				}
			}
		})
	}
}

// run plays one schedule and returns the world it ended in.
func (k kind) run(t *testing.T, c *choices, seed uint64) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(k.rotating)
		jitter := rand.New(rand.NewPCG(seed, 1))
		random := func(limit time.Duration) time.Duration {
			w.mu.Lock()
			defer w.mu.Unlock()
			return time.Duration(jitter.Int64N(int64(limit)))
		}
		fleet := make([]*process, modelProcesses)
		for i := range fleet {
			fleet[i] = w.start(i, 0, random)
			fleet[i].use()
		}
		w.drain()
		for range modelSteps {
			if c.ended() || len(w.violations) > 0 {
				break
			}
			k.step(w, c, fleet, random)
		}
		w.finish(fleet)
	})
	return w
}

// step does one of the things that can happen next. The first option is to
// let the oldest call through, or time pass if there is none.
func (k kind) step(w *world, c *choices, fleet []*process, random func(time.Duration) time.Duration) {
	synctest.Wait()
	var options []func()
	faulty := k.faults && c.choose(4) == 1
	for _, call := range w.ready() {
		options = append(options, func() { w.settle(call, letThrough) })
		if faulty && call.op != "refresh" {
			options = append(options,
				func() { w.settle(call, failBefore) },
				func() { w.settle(call, loseAnswer) })
		}
	}
	pauses := []time.Duration{time.Second, 100 * time.Millisecond}
	if len(options) == 0 || k.faults {
		pauses = append(pauses, 7*time.Second, 31*time.Second)
	}
	if len(options) == 0 {
		pauses = append(pauses, 4*time.Minute, 11*time.Minute)
	}
	for _, pause := range pauses {
		options = append(options, func() { w.wait(pause) })
	}
	options = append(options, func() {
		w.say("somebody edits the record")
		w.edit()
	})
	for i, p := range fleet {
		options = append(options, func() {
			w.say("%s is used", p)
			p.use()
		})
		if c.choose(20) == 1 {
			options = append(options, func() {
				w.say("the user installs again through %s", p)
				w.reinstall(p)
			})
		}
		if k.crashes && (len(w.ready()) > 0 || i == 0) {
			options = append(options, func() {
				w.say("%s is killed and started again", p)
				p.kill()
				fleet[i] = w.start(p.id, p.life+1, random)
			})
		}
	}
	options[c.choose(len(options))]()
}

// finish ends all faults and checks that everybody is served, for hours.
func (w *world) finish(fleet []*process) {
	w.say("all faults end")
	w.pass(5*time.Minute, 5*time.Second)
	if !w.installed() {
		w.say("the last install was not stored: the user installs again")
		w.reinstall(fleet[0])
		w.pass(5*time.Minute, 5*time.Second)
	}
	for range 3 {
		for _, p := range fleet {
			p.use()
		}
		w.pass(time.Minute, 3*time.Second)
		w.pass(time.Hour, 4*time.Minute)
	}
	for _, p := range fleet {
		w.checkServed(p)
	}
	for _, p := range fleet {
		p.kill()
	}
}

func (w *world) checkServed(p *process) {
	result := make(chan error, 1)
	go func() {
		_, err := p.manager.Token(context.Background(), modelUser)
		result <- err
	}()
	for range 60 {
		w.drain()
		select {
		case err := <-result:
			if err != nil && !w.grant.lost {
				w.violated("%s: no token after all faults ended: %v", p, err)
			}
			return
		default:
			time.Sleep(time.Second)
		}
	}
	w.violated("%s: no answer a minute after all faults ended", p)
	p.kill()
	<-result
}

// shrink looks for a shorter schedule that breaks a promise too: runs of
// choices are left out, or replaced by "go on", in runs that get shorter.
func (k kind) shrink(t *testing.T, taken []int, failing *world, seed uint64) *world {
	try := func(candidate []int) bool {
		w := k.run(t, &choices{taken: candidate}, seed)
		if len(w.violations) == 0 {
			return false
		}
		taken, failing = candidate, w
		return true
	}
	for size := len(taken) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(taken); {
			if !try(slices.Delete(slices.Clone(taken), at, at+size)) {
				at += size
			}
		}
		for at := 0; at+size <= len(taken); at += size {
			candidate := slices.Clone(taken)
			clear(candidate[at : at+size])
			if !slices.Equal(candidate, taken) {
				try(candidate)
			}
		}
	}
	return failing
}

// mutants are ways of breaking the protocol, as edits of its source. The
// model test must fail with each.
var mutants = []struct{ name, file, old, new string }{
	{
		"claims are not respected", "refresh.go",
		"if v.Claim != nil && !watch.lapsed(v, m.lease(v.Record)) {", "if false {",
	},
	{
		"no claim is written", "claim.go",
		"	return m.put(m.ctx, r, v.Version)", "	return Versioned{Record: r, Version: v.Version}, nil",
	},
	{
		"claims are taken over too early", "claim.go",
		"return time.Since(w.since) >= lease", "return time.Since(w.since) >= lease/30",
	},
	{
		"no check-and-set", "claim.go",
		"version, err := m.config.Store.Save(ctx, r, based)",
		"if stored, err := m.config.Store.Load(ctx, r.Key); err == nil {\n\t\tbased = stored.Version\n\t}\n\tversion, err := m.config.Store.Save(ctx, r, based)",
	},
	{
		"a dead grant is believed without reading again", "refresh.go",
		"if !stored.RefreshToken.Equal(tried.RefreshToken) {", "if false {",
	},
	{
		"tokens in hand are dropped on a conflict", "pending.go",
		"saved, err = m.resolve(ctx, p)", "saved, err = m.config.Store.Load(ctx, p.record.Key)",
	},
	{"the result is given up after one try", "refresh.go", "		m.writeBehind(e)\n", "		e.drop()\n"},
}

func TestModelCatchesABrokenProtocol(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the package once per way of breaking it")
	}
	for _, mutant := range mutants {
		t.Run(mutant.name, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(mutant.file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(source), mutant.old) != 1 {
				t.Fatalf("%s no longer has exactly one %q", mutant.file, mutant.old)
			}
			overlay := writeOverlay(t, mutant.file, strings.Replace(string(source), mutant.old, mutant.new, 1))
			cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-ldflags=-w", "-overlay", overlay, "-run", "^TestModel$", "-failfast", ".", "-model.shrink=false", "-model.schedules=300")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the model test passes although %s", mutant.name)
			}
			if !strings.Contains(string(out), "VIOLATION") {
				t.Fatalf("the model test did not run: %s", out)
			}
		})
	}
}

// writeOverlay makes a file for go test -overlay that replaces one source file.
func writeOverlay(t *testing.T, file, content string) string {
	t.Helper()
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, file), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{mutated: []byte(content), overlay: text} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(fmt.Errorf("writing %s: %w", path, err))
		}
	}
	return overlay
}
