package connection_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	modelUser    = "acme"
	modelLife    = 30 * time.Minute
	modelLease   = 30 * time.Second
	storeTimeout = 3 * time.Second
)

// world is everything outside the processes: one store, one token endpoint
// and the network to both. Each call of a process stands in the network until
// the schedule lets it through, fails it, or loses its answer.
type world struct {
	mu      sync.Mutex
	pending []*call
	record  connection.Versioned
	ledger  ledger
	grant   grantModel
	trace   []string
	// violations are broken promises, in the order of their discovery.
	violations []string
	begun      time.Time
}

// grantModel is HubSpot's view of the one grant.
type grantModel struct {
	rotating bool
	family   int // grows with every install; tokens of earlier ones are dead
	current  string
	issues   []issue
	lost     bool // an old refresh token was used: the family is revoked
	running  map[string]int
}

// issue is one answer of the token endpoint.
type issue struct {
	by              *process
	refresh, access string
	at              time.Time
	family          int
	written         bool
	failedSaves     int // of its process, since
}

// call is a call of a process that stands in the network.
type call struct {
	by     *process
	op     string
	seq    int
	apply  func() (any, error) // what happens when it arrives
	answer chan reply
	gone   bool // the caller has left; a write may still arrive
}

type reply struct {
	value any
	err   error
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.3fs  ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

// wait lets time pass, and says so in one line however often it happens.
func (w *world) wait(d time.Duration) {
	if n := len(w.trace); n > 0 && strings.HasSuffix(w.trace[n-1], "time passes") {
		w.trace = w.trace[:n-1]
	}
	time.Sleep(d)
	w.say("time passes")
}

func (w *world) violated(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, text)
	w.say("VIOLATION: %s", text)
}

// arrive puts a call into the network and waits for its answer. The schedule
// answers; otherwise the caller leaves at its timeout, or with its process.
func (w *world) arrive(ctx context.Context, p *process, op string, timeout time.Duration, apply func() (any, error)) (any, error) {
	w.mu.Lock()
	if p.dead {
		w.mu.Unlock()
		return nil, connection.ErrUnavailable
	}
	p.seq++
	c := &call{by: p, op: op, seq: p.seq, apply: apply, answer: make(chan reply, 1)}
	w.pending = append(w.pending, c)
	w.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var err error
	select {
	case r := <-c.answer:
		return r.value, r.err
	case <-timer.C:
		err = fmt.Errorf("%s timed out: %w", op, connection.ErrUnavailable)
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.killed:
		err = connection.ErrUnavailable
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.gone = true
	w.countFailed(c)
	if op != "save" { // a write that its writer has given up may still arrive
		w.pending = slices.DeleteFunc(w.pending, func(x *call) bool { return x == c })
	}
	return nil, err
}

// ready returns the calls in the network in an order that depends on the
// schedule only.
func (w *world) ready() []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := slices.Clone(w.pending)
	slices.SortFunc(calls, func(a, b *call) int {
		if a.by.id != b.by.id {
			return a.by.id - b.by.id
		}
		return a.seq - b.seq
	})
	return calls
}

// countFailed notes that a process could not write after its last answer.
func (w *world) countFailed(c *call) {
	last := &w.grant.issues[len(w.grant.issues)-1]
	if c.op == "save" && last.by == c.by {
		last.failedSaves++
	}
}

type outcome int

const (
	letThrough outcome = iota
	failBefore
	loseAnswer
)

// settle ends a call that stands in the network.
func (w *world) settle(c *call, how outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = slices.DeleteFunc(w.pending, func(x *call) bool { return x == c })
	late := ""
	if c.gone {
		late = " (late)"
	}
	switch how {
	case failBefore:
		w.say("%s %s fails%s", c.by, c.op, late)
		w.countFailed(c)
		c.answer <- reply{nil, connection.ErrUnavailable}
	case loseAnswer:
		_, err := c.apply()
		w.say("%s %s done (%v), answer lost%s", c.by, c.op, err, late)
		c.answer <- reply{nil, connection.ErrUnavailable}
	default:
		value, err := c.apply()
		w.say("%s %s done (%v)%s", c.by, c.op, err, late)
		c.answer <- reply{value, err}
	}
}

// process is one sidecar.
type process struct {
	id      int
	life    int
	world   *world
	manager *connection.Manager
	seq     int
	dead    bool
	killed  chan struct{}
	clients sync.WaitGroup
}

func (p *process) String() string { return fmt.Sprintf("p%d.%d", p.id, p.life) }

func (w *world) start(id, life int, random func(time.Duration) time.Duration) *process {
	p := &process{id: id, life: life, world: w, killed: make(chan struct{})}
	p.manager = connection.NewManager(connection.Config{
		App: app, Store: &modelStore{p}, Provider: &modelProvider{p}, Owner: p.String(), Lease: modelLease, Random: random,
	})
	return p
}

// kill ends the process between two of its steps: nothing that it does from
// now on reaches the world, save for writes already under way.
func (p *process) kill() {
	p.world.mu.Lock()
	p.dead = true
	p.world.mu.Unlock()
	close(p.killed)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.manager.Close(ended)
	p.clients.Wait()
}

// use is a request of a client that waits as long as it takes.
func (p *process) use() {
	p.clients.Go(func() { _, _ = p.manager.Token(context.Background(), modelUser) })
}

type modelStore struct{ p *process }

func (s *modelStore) Load(ctx context.Context, _ connection.Key) (connection.Versioned, error) {
	value, err := s.p.world.arrive(ctx, s.p, "load", storeTimeout, func() (any, error) { return s.p.world.record, nil })
	if err != nil {
		return connection.Versioned{}, err
	}
	return value.(connection.Versioned), nil
}

func (s *modelStore) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	w := s.p.world
	value, err := w.arrive(ctx, s.p, "save", storeTimeout, func() (any, error) {
		if w.record.Version != based {
			return uint64(0), connection.ErrConflict
		}
		w.record = connection.Versioned{Record: r, Version: based + 1}
		w.checkRecord()
		return based + 1, nil
	})
	if err != nil {
		return 0, err
	}
	return value.(uint64), nil
}

// The ledger answers at once: its own faults have tests of their own.

func (s *modelStore) LoadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	return s.p.world.ledger.LoadSheet(ctx, app, name)
}

func (s *modelStore) SaveSheet(ctx context.Context, app, name, text string, based uint64) (uint64, error) {
	return s.p.world.ledger.SaveSheet(ctx, app, name, text, based)
}

func (s *modelStore) Mark(ctx context.Context, app, text string) (string, error) {
	return s.p.world.ledger.Mark(ctx, app, text)
}

func (s *modelStore) Erase(context.Context, connection.Key, uint64) error { return nil }

func (s *modelStore) List(context.Context, string, string, int) (connection.Page, error) {
	return connection.Page{}, nil
}

func (s *modelStore) ID(context.Context, connection.Key) (string, error) {
	return "", connection.ErrUnavailable
}

// checkRecord holds that what is stored is what HubSpot gave out together.
func (w *world) checkRecord() {
	for i := range w.grant.issues {
		is := &w.grant.issues[i]
		if is.access != w.record.AccessToken.Reveal() {
			continue
		}
		is.written = true
		if is.refresh != w.record.RefreshToken.Reveal() {
			w.violated("torn record: %s stored with %s", is.access, w.record.RefreshToken.Reveal())
		}
		return
	}
	w.violated("record holds a token that nobody issued")
}

type modelProvider struct{ p *process }

func (m *modelProvider) Refresh(ctx context.Context, token secret.Text) (hubspot.Grant, error) {
	w, used := m.p.world, token.Reveal()
	w.mu.Lock()
	w.grant.running[used]++
	if w.grant.running[used] > 1 && w.grant.rotating {
		w.violated("two refreshes with %s at once", used)
	}
	w.mu.Unlock()
	value, err := w.arrive(ctx, m.p, "refresh", time.Hour, func() (any, error) { return w.refresh(m.p, used) })
	w.mu.Lock()
	w.grant.running[used]--
	w.mu.Unlock()
	if errors.Is(err, connection.ErrUnavailable) {
		err = errors.New("no answer from the token endpoint")
	}
	if err != nil {
		return hubspot.Grant{}, err
	}
	return value.(hubspot.Grant), nil
}

func (m *modelProvider) Uninstall(context.Context, secret.Text) error { return nil }

func (m *modelProvider) Revoke(context.Context, secret.Text) error { return nil }

// refresh is what HubSpot does with a refresh token.
func (w *world) refresh(p *process, token string) (any, error) {
	g := &w.grant
	if token != g.current && !g.inFamily(token) {
		return nil, deadGrant() // of an earlier install
	}
	last := g.issues[len(g.issues)-1]
	// A result that never got into the store because its process died, or was
	// cut off from the store, is lost to the others. No client can help that.
	excused := !last.written && (last.by == nil || last.by.dead || last.failedSaves > 1)
	if g.lost {
		return nil, deadGrant()
	}
	if token != g.current {
		g.lost = true
		if !excused {
			w.violated("%s used a refresh token that was used before", p)
		}
		return nil, deadGrant()
	}
	// A life is counted from before HubSpot was asked, which may take a while.
	if g.rotating && time.Since(last.at) < modelLife/2-modelLease && !excused {
		w.violated("%s refreshed a token that was fresh", p)
	}
	if g.rotating {
		g.current = fmt.Sprintf("refresh-%d", len(g.issues))
	}
	return w.issue(p), nil
}

// issue gives out an access token for the current refresh token.
func (w *world) issue(p *process) hubspot.Grant {
	g := &w.grant
	next := issue{by: p, refresh: g.current, access: fmt.Sprintf("access-%d", len(g.issues)), at: time.Now(), family: g.family}
	g.issues = append(g.issues, next)
	return hubspot.Grant{
		AccessToken: secret.New(next.access), RefreshToken: secret.New(next.refresh), HubID: 1, ExpiresIn: modelLife,
	}
}

// inFamily reports whether the refresh token came from the latest install.
func (g *grantModel) inFamily(token string) bool {
	return slices.ContainsFunc(g.issues, func(is issue) bool { return is.refresh == token && is.family == g.family })
}

// reinstall is a user who removes the app and installs it again through p.
func (w *world) reinstall(p *process) {
	w.mu.Lock()
	w.grant.family++
	w.grant.lost = false
	w.grant.current = fmt.Sprintf("refresh-%d", len(w.grant.issues))
	grant := w.issue(p)
	w.mu.Unlock()
	done := install(modelUser, "", 1)
	done.Grant = grant
	p.clients.Go(func() { _, _ = p.manager.Connect(context.Background(), done) })
}

// installed reports whether the record is of the latest install.
func (w *world) installed() bool {
	return w.grant.inFamily(w.record.RefreshToken.Reveal())
}

// edit is somebody who changes another field of the record.
func (w *world) edit() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Version++
	w.record.WriteID = fmt.Sprint("edit ", w.record.Version)
}

// newWorld has one connection that was installed just now.
func newWorld(rotating bool) *world {
	now := time.Now()
	w := &world{begun: now, ledger: ledger{sheets: make(map[string]sheet)}}
	first := issue{refresh: "refresh-0", access: "access-0", at: now}
	w.grant = grantModel{rotating: rotating, current: first.refresh, issues: []issue{first}, running: make(map[string]int)}
	w.record = connection.Versioned{Version: 1, Record: connection.Record{
		Key: connection.Key{App: app, User: modelUser}, Status: connection.StatusActive, Generation: "g", HubID: 1, Rotates: rotating,
		AccessToken: secret.New(first.access), RefreshToken: secret.New(first.refresh),
		IssuedAt: now, ExpiresAt: now.Add(modelLife), ConnectedAt: now,
	}}
	w.checkRecord()
	return w
}

// drain lets everything through until all is quiet.
func (w *world) drain() {
	for {
		synctest.Wait()
		calls := w.ready()
		if len(calls) == 0 {
			return
		}
		w.settle(calls[0], letThrough)
	}
}

// pass lets d go by without faults, in steps.
func (w *world) pass(d, step time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(step) {
		w.drain()
	}
}

func (w *world) story() string { return strings.Join(w.trace, "\n") }
