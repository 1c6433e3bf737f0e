package chaos_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// pauseBetween is the mean time between two requests for one user.
	pauseBetween = 400 * time.Millisecond
	// callTimeout is how long a client waits for a sidecar, and hangUpAfter
	// how long one that loses patience does: one in hangUpShare.
	callTimeout = 30 * time.Second
	hangUpAfter = 30 * time.Millisecond
	hangUpShare = 50
)

// failure is a request that was not answered with 200.
type failure struct {
	conn       *conn
	sidecar    int
	start, end time.Time
	reason     string
	// unexplained says that nothing the script did is the reason.
	unexplained bool
}

// load calls for every user through all sidecars, one request at a time for
// each user. A user who is told to install the app again does that.
type load struct {
	ledger  *ledger
	hubspot *hubspot
	fleet   []*sidecar

	wg     sync.WaitGroup
	cancel context.CancelFunc

	mu       sync.Mutex
	requests int
	hangUps  int
	failures []failure
	// longest is the longest time to an answer, by answer, of a sidecar to
	// which nothing was done meanwhile, and longestAny that of all.
	longest    map[string]time.Duration
	longestAny time.Duration
	// reconnected is when a user installed again, and healed the longest
	// time until no sidecar asked for that any more.
	reconnected map[*conn]time.Time
	reconnects  int
	healed      time.Duration
}

func newLoad(l *ledger, h *hubspot, fleet []*sidecar) *load {
	return &load{ledger: l, hubspot: h, fleet: fleet, longest: make(map[string]time.Duration), reconnected: make(map[*conn]time.Time)}
}

// all returns the connections in a fixed order.
func (l *ledger) all() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := make([]*conn, 0, len(l.conns))
	for _, c := range l.conns {
		conns = append(conns, c)
	}
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.hub, b.hub) })
	return conns
}

// run starts the clients.
func (d *load) run(seed uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	for i, c := range d.ledger.all() {
		rng := rand.New(rand.NewPCG(seed, uint64(i)+100))
		d.wg.Go(func() { d.client(ctx, c, rng) })
	}
}

// stop lets the requests under way finish. It may be called again.
func (d *load) stop() {
	d.cancel()
	d.wg.Wait()
}

func (d *load) client(ctx context.Context, c *conn, rng *rand.Rand) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pauseBetween/2 + rand.N(pauseBetween)):
		}
		s := d.fleet[rng.IntN(len(d.fleet))]
		if rng.IntN(hangUpShare) == 0 {
			d.hangUp(s, c)
			continue
		}
		if d.call(s, c) == reasonReauth {
			d.installAgain(d.fleet[rng.IntN(len(d.fleet))], c)
		}
	}
}

// hangUp is a client that does not wait for the answer.
func (d *load) hangUp(s *sidecar, c *conn) {
	_, _ = d.send(s, c, hangUpAfter)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangUps++
}

// call makes a request and returns why it failed; empty if it did not.
func (d *load) call(s *sidecar, c *conn) string {
	start := time.Now()
	d.ledger.mu.Lock()
	known := c.known[s.number]
	d.ledger.mu.Unlock()
	reason, err := d.send(s, c, callTimeout)
	f := failure{conn: c, sidecar: s.number, start: start, end: time.Now(), reason: reason}
	d.ledger.mu.Lock()
	defer d.ledger.mu.Unlock()
	disturbed := d.ledger.during(s.number, start, f.end, killed, paused, restarted)
	switch {
	case err != nil && disturbed != nil:
		f.reason = "sidecar " + string(disturbed.kind)
	case err != nil && d.ledger.during(s.number, start, f.end, reloaded) != nil:
		// Caddy hands its listener on; a connection may be lost in that moment.
		f.reason = "sidecar's " + string(reloaded)
	case err != nil:
		f.reason, f.unexplained = "no answer: "+cause(err), true
	case reason != "":
		d.explain(&f, known, disturbed)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	if err == nil {
		d.longestAny = max(d.longestAny, f.end.Sub(start))
		if disturbed == nil {
			answer := cmp.Or(f.reason, "200")
			d.longest[answer] = max(d.longest[answer], f.end.Sub(start))
		}
	}
	if f.reason != "" {
		d.failures = append(d.failures, f)
	}
	return f.reason
}

// Reasons that a sidecar, or HubSpot through it, gives.
const (
	reasonReauth        = "401 reauth_required"
	reasonReauthLate    = "401 reauth_required, after a reconnect elsewhere"
	reasonToken         = "503 token_unavailable"
	reasonStore         = "503 store_unavailable"
	reasonMisconfigured = "503 app_misconfigured"
	reasonExpired       = "401 of HubSpot"
	// reasonDead is for a grant that is gone, among so many others that the
	// sidecar takes it for an incident and sends nobody to install again.
	reasonDead = reasonToken + ", grant lost"
)

// explain judges an answer other than 200. The caller holds the ledger's lock.
func (d *load) explain(f *failure, known knownToken, disturbed *fault) {
	switch f.reason {
	case reasonToken, reasonStore, reasonMisconfigured:
		if f.reason == reasonToken && d.isGone(f.conn) {
			f.reason = reasonDead
			return
		}
		// The promise: never while a valid token is known. A second on
		// either side allows for what was under way; what a process is
		// told while it stands still comes too late.
		isKnown := f.start.Sub(known.since) > time.Second && known.expires.Sub(f.end) > time.Second &&
			d.ledger.during(f.sidecar, known.since, known.since.Add(time.Second), paused) == nil
		if isKnown && disturbed == nil {
			f.reason, f.unexplained = f.reason+" with a valid token at hand", true
		}
	case reasonReauth:
		d.explainReauth(f)
	case reasonExpired:
		// A token may expire on the way, in a process that stands still above all.
		f.unexplained = disturbed == nil && f.conn.expiredAt.Before(f.start)
	default:
		f.unexplained = true
	}
}

// explainReauth judges an answer that sends the user to install again: right
// if HubSpot has revoked the grant, and right for a moment after a reconnect
// through another sidecar.
func (d *load) explainReauth(f *failure) {
	d.mu.Lock()
	last := d.reconnected[f.conn]
	d.mu.Unlock()
	since := f.end.Sub(last)
	if !last.IsZero() && (since < reconnectHeals || d.ledger.cutOff(f.sidecar, last, f.end)) {
		f.reason = reasonReauthLate
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.ledger.cutOff(f.sidecar, last, f.end) {
			d.healed = max(d.healed, since)
		}
		return
	}
	if !d.isGone(f.conn) {
		f.reason, f.unexplained = reasonReauth+" although the grant lives", true
	}
}

// isGone reports whether HubSpot has no live grant for the connection.
func (d *load) isGone(c *conn) bool { return !d.hubspot.app(c.app).hasLiveGrant(c.hub) }

// reconnectHeals is how soon a reconnect through one sidecar has to heal all
// of them.
const reconnectHeals = 20 * time.Second

// send makes a request and returns why the answer is not 200.
func (d *load) send(s *sidecar, c *conn, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/"+c.app+"/crm/objects/2026-09/contacts?limit=1", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-HubSpot-User", c.user)
	req.Header.Set("Authorization", "Bearer "+callerKey)
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusOK {
		if resp.Header.Get("X-HubSpot-Portal") != strconv.FormatInt(c.hub, 10) {
			return "200 from the portal of another user", nil
		}
		return "", nil
	}
	var problem struct {
		Category    string `json:"category"`
		SubCategory string `json:"subCategory"`
	}
	_ = json.Unmarshal(body, &problem)
	if problem.Category != "SIDECAR" {
		return strconv.Itoa(resp.StatusCode) + " of HubSpot", nil
	}
	return strconv.Itoa(resp.StatusCode) + " " + problem.SubCategory, nil
}

// cause is the innermost of the errors, without addresses.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// installAgain is the user who follows the link. Where that fails, the next
// request leads here again.
func (d *load) installAgain(s *sidecar, c *conn) {
	if connect(s, d.hubspot.app(c.app), c) != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reconnects++
	d.reconnected[c] = time.Now()
}
