package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// script breaks things for a while. Its three tracks run at the same time,
// each from random numbers of its own, so that the seed decides what comes
// in which order on each.
type script struct {
	seed   uint64
	ledger *ledger
	fleet  []*sidecar
	apps   []*appSetup
	vault  *vaultTap
}

// step is one thing to do; the number says how often it is in the deck.
type step struct {
	name  string
	cards int
	do    func(rng *rand.Rand) error
}

// play runs the script until ctx ends, and leaves everything in order.
func (s *script) play(ctx context.Context, t *testing.T) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	failures := make(chan error, 1+len(s.apps))
	wg.Go(func() { failures <- s.track(ctx, 1, 2*time.Second, s.sidecarSteps()) })
	for i, app := range s.apps {
		wg.Go(func() { failures <- s.track(ctx, uint64(10+i), 4*time.Second, s.endpointSteps(app)) })
	}
	// Starting and stopping Vault may end the test, which only this
	// goroutine may do.
	err := s.track(ctx, 2, 5*time.Second, s.vaultSteps(t))
	wg.Wait()
	close(failures)
	for failed := range failures {
		err = errors.Join(err, failed)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// track does one step after the other, with pauses of pause on average. The
// steps come from a shuffled deck, so that each has its turn.
func (s *script) track(ctx context.Context, stream uint64, pause time.Duration, steps []step) error {
	rng := rand.New(rand.NewPCG(s.seed, stream))
	var deck []step
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(between(rng, pause/4, pause*7/4)):
		}
		if len(deck) == 0 {
			deck = shuffled(rng, steps)
		}
		next := deck[0]
		deck = deck[1:]
		if err := next.do(rng); err != nil {
			return fmt.Errorf("%s: %w", next.name, err)
		}
	}
}

func shuffled(rng *rand.Rand, steps []step) []step {
	var deck []step
	for _, st := range steps {
		deck = append(deck, slices.Repeat([]step{st}, st.cards)...)
	}
	rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	return deck
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

// sidecarSteps are what happens to processes. Short stops are below a third
// of the shortest lease, which the protocol assumes; long ones are above it.
func (s *script) sidecarSteps() []step {
	one := func(rng *rand.Rand) *sidecar { return s.fleet[rng.IntN(len(s.fleet))] }
	return []step{
		{"restart", 2, func(rng *rand.Rand) error { return one(rng).restart() }},
		{"reload", 2, func(rng *rand.Rand) error { return one(rng).reload() }},
		{"kill", 4, func(rng *rand.Rand) error { return one(rng).killAndRestart(between(rng, 0, 2*time.Second)) }},
		{"stop shortly", 3, func(rng *rand.Rand) error {
			one(rng).pause(between(rng, 200*time.Millisecond, shortestStep))
			return nil
		}},
		{"stop for long", 1, func(rng *rand.Rand) error {
			one(rng).pause(between(rng, stableLife/3, rotatingLife/3+2*time.Second))
			return nil
		}},
	}
}

// shortestStep is a third of the shorter lease, and the timeout of a call to
// the token endpoint.
const shortestStep = stableLife / 9

// vaultSteps are what happens to Vault.
func (s *script) vaultSteps(t *testing.T) []step {
	v := s.vault
	outage := func(name string, f func(d time.Duration)) func(rng *rand.Rand) error {
		return func(rng *rand.Rand) error {
			noted := s.ledger.begin(vaultGone, name, -1)
			defer s.ledger.finish(noted)
			f(between(rng, 2*time.Second, 7*time.Second))
			return nil
		}
	}
	return []step{
		{"stop Vault", 1, outage("stopped", func(d time.Duration) { v.server.Stop(t); time.Sleep(d); v.server.Restart(t) })},
		{"kill Vault", 1, outage("killed", func(d time.Duration) { v.server.Kill(t); time.Sleep(d); v.server.Restart(t) })},
		{"seal Vault", 2, outage("sealed", func(d time.Duration) { v.server.Seal(t); time.Sleep(d); v.server.Unseal(t) })},
		{"Vault hangs", 1, outage("hangs", func(d time.Duration) { v.hangs.Store(true); time.Sleep(d); v.hangs.Store(false) })},
		{"Vault is slow", 2, outage("slow", func(d time.Duration) {
			v.delay.Store(int64(between(rand.New(rand.NewPCG(uint64(d), 0)), 200*time.Millisecond, time.Second)))
			time.Sleep(d)
			v.delay.Store(0)
		})},
		{"Vault loses answers", 1, outage("loses answers", func(d time.Duration) { v.loses.Store(40); time.Sleep(d); v.loses.Store(0) })},
		{"revoke logins", 1, outage("logins revoked", func(time.Duration) { v.revokeLogins(t) })},
		{"remove policy", 1, outage("policy removed", func(d time.Duration) { v.withoutPolicy(t, func() { time.Sleep(d) }) })},
	}
}

// endpointSteps are what happens to the token endpoint. The answers that are
// lost after HubSpot has processed the request are for stable refresh tokens
// only: with rotating ones each is a lost connection, which no client can
// prevent and which would show nothing.
func (s *script) endpointSteps(app *appSetup) []step {
	fault := func(name, rule string) func(rng *rand.Rand) error {
		return func(rng *rand.Rand) error {
			noted := s.ledger.begin(endpoint, app.name+": "+name, -1)
			defer s.ledger.finish(noted)
			app.control("POST", "faults", `{"token":{"grant_type":"refresh_token",`+rule+`}}`)
			time.Sleep(between(rng, time.Second, 4*time.Second))
			app.clearFaults()
			return nil
		}
	}
	steps := []step{
		{"slow", 2, fault("slow", `"delay":"400ms"`)},
		{"rate limited", 1, fault("rate limited", `"answer":"rate_limited","retry_after":2`)},
		{"server error", 1, fault("server error", `"answer":"server_error"`)},
		{"gateway error", 1, fault("gateway error", `"answer":"gateway_error","status":503`)},
		{"locked", 1, fault("locked", `"answer":"locked"`)},
		{"dropped", 1, fault("dropped", `"drop":"before"`)},
	}
	if app.rotating {
		return steps
	}
	return append(steps,
		step{"too slow", 1, fault("too slow", `"delay":"3s"`)},
		step{"answer lost", 1, fault("answer lost", `"drop":"after"`)},
		step{"empty", 1, fault("empty", `"answer":"empty"`)},
		step{"nonsense", 1, fault("nonsense", `"answer":"broken_json"`)},
	)
}
