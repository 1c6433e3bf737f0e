package chaos_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	chaosFor      = flag.Duration("chaos.for", 45*time.Second, "how long the chaos test breaks things")
	chaosSeed     = flag.Uint64("chaos.seed", 1, "what the chaos test's script is drawn from")
	chaosSidecars = flag.Int("chaos.sidecars", 3, "caddy processes of the chaos test")
	chaosUsers    = flag.Int("chaos.users", 24, "connected users for each of the chaos test's two apps")
)

// calm is how long everything must work without a flaw after the faults: each
// token is refreshed in that time.
const calm = rotatingLife

// TestChaos is described in the documentation of the package.
func TestChaos(t *testing.T) {
	t.Parallel()
	l := newLedger()
	hub := newHubSpot(t, l, *chaosSidecars, *chaosUsers)
	vault := newVaultTap(t, l, *chaosSidecars)
	fleet := newFleet(t, l, hub, vault, *chaosSidecars)
	for i, c := range l.all() {
		if err := connect(fleet[i%len(fleet)], hub.app(c.app), c); err != nil {
			t.Fatalf("connecting %s: %v", c.user, err)
		}
	}
	clients := newLoad(l, hub, fleet)
	clients.run(*chaosSeed)
	t.Cleanup(clients.stop)
	ctx, cancel := context.WithTimeout(t.Context(), *chaosFor)
	defer cancel()
	s := &script{seed: *chaosSeed, ledger: l, fleet: fleet, apps: hub.apps, vault: vault}
	s.play(ctx, t)

	notServed := clients.settle()
	// What was under way comes to its end, and claims run out.
	time.Sleep(rotatingLife / 3)
	afterwards := time.Now()
	time.Sleep(calm)
	clients.stop()

	whole := newReport(l, hub, clients, time.Time{})
	for user, reason := range notServed {
		whole.problem("%s is not served after all faults ended: %s", user, reason)
	}
	t.Logf("%d sidecars, %d users, seed %d, %v of faults and %v of calm\n\n%s", len(fleet), len(l.all()), *chaosSeed,
		*chaosFor, time.Since(afterwards).Round(time.Second), whole)
	whole.requireCalm(newReport(l, hub, clients, afterwards))
	for _, problem := range whole.problems {
		t.Error(problem)
	}
	for c := range whole.suspects {
		t.Logf("the story of %s:\n%s", c.user, l.story(c))
	}
	if whole.expected["stable"] == 0 || whole.expected["rotating"] == 0 {
		t.Error("there was nothing to refresh: this test sees nothing")
	}
	if t.Failed() {
		for _, s := range fleet {
			t.Logf("sidecar %d, warnings and errors: %s", s.number, s.complaints())
		}
	}
}

// settle waits until every connection is served by every sidecar, and returns
// those that are not, with the reason. Those that HubSpot has revoked are
// judged by the ledger.
func (d *load) settle() map[string]string {
	deadline := time.Now().Add(patience)
	for {
		missing := make(map[string]string)
		for _, c := range d.ledger.all() {
			if d.isGone(c) {
				continue
			}
			for _, s := range d.fleet {
				if reason, err := d.send(s, c, callTimeout); err != nil || reason != "" {
					missing[c.user] = fmt.Sprintf("%s %v", reason, err)
				}
			}
		}
		if len(missing) == 0 || time.Now().After(deadline) {
			return missing
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// requireCalm holds that nothing went wrong after the faults. Users who had
// lost their grant before may find that out now.
func (r *report) requireCalm(after *report) {
	for reason, n := range after.failed {
		switch reason {
		case reasonDead, reasonReauth, reasonReauthLate:
		default:
			r.problem("%d requests failed after all faults had ended: %s", n, reason)
		}
	}
	for cause, n := range after.duplicates {
		if isStall(cause) {
			continue
		}
		r.problem("%d duplicate refreshes after all faults had ended: %s", n, cause)
	}
}

// isStall reports whether a machine that stands still for seconds is enough
// of a cause, without any help from the script.
func isStall(cause string) bool {
	for _, possible := range []string{causeLate, causeNoClaim, causeVault, causeOvertaken} {
		if strings.HasSuffix(cause, possible) {
			return true
		}
	}
	return false
}
