package chaos_test

import (
	"sync"
	"time"
)

// ledger is what the sidecars said to HubSpot and to Vault, as it passed by.
// It is safe for concurrent use; its lists are read when all is over.
type ledger struct {
	mu    sync.Mutex
	conns map[connKey]*conn
	// byPortal, byRefresh and byAccess find a connection by what HubSpot
	// calls it.
	byPortal  map[int64]*conn
	byRefresh map[string]*conn
	byAccess  map[string]*conn
	faults    []*fault
	// storeGood are the times of answers of Vault that could be relied on,
	// and storeBad those at which there was none, by sidecar. On a busy
	// machine Vault itself may not answer in time.
	storeGood, storeBad map[int][]time.Time
	// lives counts the processes that each sidecar has been.
	lives map[int]int
}

// connKey names a connection as the sidecars do.
type connKey struct{ app, user string }

// conn is what is known of one connection.
type conn struct {
	connKey
	hub      int64
	life     time.Duration
	rotating bool

	// installs and attempts are in the order in which HubSpot answered.
	history []*attempt
	// stored is when a token was first seen in Vault, by access token.
	stored map[string]storedToken
	// claims are the last ones of each sidecar that have not been used.
	claims map[int]*claim
	// refusedAccess are access tokens that the API answered with 401.
	refusedAccess map[string]bool
	// expiredAt is when the API last refused a token that had expired less
	// than a second before: on its way.
	expiredAt time.Time
	// known is the newest token that each sidecar has, by sidecar.
	known map[int]knownToken
	// issued counts the refreshes that HubSpot has answered with a token.
	issued int64
}

type storedToken struct {
	at     time.Time // when the write was seen
	issued time.Time // as it stands in the record
}

type knownToken struct{ since, expires time.Time }

// claim is a claim that was written into a record.
type claim struct {
	at time.Time
	// access is the token in the record, which is to be replaced.
	access string
}

// attempt is a request to the token endpoint, or an install.
type attempt struct {
	conn     *conn
	by, life int
	install  bool
	// arrived is when the request came in, answered when HubSpot was done
	// with it.
	arrived, answered time.Time
	claim             *claim // nil for a refresh without one
	issued            bool   // HubSpot has given a token
	refused           bool   // HubSpot called the grant dead
	access            string // empty if it is not known
	// delivered is false if the answer did not reach the sidecar whole, and
	// mangled says that a fault of the token endpoint is the reason.
	delivered, mangled bool
}

// begun is when the sidecar set about it, or at most a moment later.
func (a *attempt) begun() time.Time {
	if a.claim != nil {
		return a.claim.at
	}
	return a.arrived
}

// faultKind is a thing that the script does.
type faultKind string

const (
	killed    faultKind = "killed"
	paused    faultKind = "stopped with SIGSTOP"
	restarted faultKind = "restarted"
	reloaded  faultKind = "config reloaded"
	vaultGone faultKind = "Vault taken away"
	endpoint  faultKind = "token endpoint broken"
)

// fault is a stretch of time in which something was wrong on purpose.
type fault struct {
	kind    faultKind
	detail  string
	sidecar int // -1: concerns them all
	start   time.Time
	end     time.Time // zero while it lasts
}

func newLedger() *ledger {
	return &ledger{
		conns: make(map[connKey]*conn), byPortal: make(map[int64]*conn),
		byRefresh: make(map[string]*conn), byAccess: make(map[string]*conn),
		storeGood: make(map[int][]time.Time), storeBad: make(map[int][]time.Time), lives: make(map[int]int),
	}
}

// add makes a connection known before it is installed.
func (l *ledger) add(key connKey, hub int64, life time.Duration, rotating bool) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &conn{
		connKey: key, hub: hub, life: life, rotating: rotating,
		stored: make(map[string]storedToken), claims: make(map[int]*claim),
		refusedAccess: make(map[string]bool), known: make(map[int]knownToken),
	}
	l.conns[key], l.byPortal[hub] = c, c
	return c
}

// begin notes the start of a fault.
func (l *ledger) begin(kind faultKind, detail string, sidecar int) *fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &fault{kind: kind, detail: detail, sidecar: sidecar, start: time.Now()}
	l.faults = append(l.faults, f)
	return f
}

// finish notes its end.
func (l *ledger) finish(f *fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.end = time.Now()
}

// forget notes that a sidecar has lost its memory.
func (l *ledger) forget(sidecar int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lives[sidecar]++
	for _, c := range l.conns {
		delete(c.known, sidecar)
		delete(c.claims, sidecar)
	}
}

// life is the number of the process that a sidecar is now.
func (l *ledger) life(sidecar int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lives[sidecar]
}

// during returns a fault of one of the kinds that concerns the sidecar and
// touches the stretch of time. The caller holds mu, or all is over.
func (l *ledger) during(sidecar int, from, to time.Time, kinds ...faultKind) *fault {
	for _, f := range l.faults {
		concerns := f.sidecar < 0 || f.sidecar == sidecar
		touches := !f.start.After(to) && (f.end.IsZero() || !f.end.Before(from))
		if concerns && touches && f.is(kinds) {
			return f
		}
	}
	return nil
}

func (f *fault) is(kinds []faultKind) bool {
	for _, kind := range kinds {
		if f.kind == kind {
			return true
		}
	}
	return false
}

// cutOff reports whether the sidecar was without Vault at some time between
// from and to: from the start of a fault until Vault first answered it again,
// or when a request got no answer.
func (l *ledger) cutOff(sidecar int, from, to time.Time) bool {
	for _, bad := range l.storeBad[sidecar] {
		if !bad.Before(from) && !bad.After(to) {
			return true
		}
	}
	for _, f := range l.faults {
		if f.kind != vaultGone || f.start.After(to) {
			continue
		}
		if f.end.IsZero() || !f.end.Before(from) || !l.firstGood(sidecar, f.end).Before(from) {
			return true
		}
	}
	return false
}

// noAnswer notes that a sidecar has got no answer of Vault.
func (l *ledger) noAnswer(sidecar int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.storeBad[sidecar] = append(l.storeBad[sidecar], time.Now())
}

// firstGood is when Vault answered the sidecar for the first time after t; far
// in the future if it never did.
func (l *ledger) firstGood(sidecar int, t time.Time) time.Time {
	for _, good := range l.storeGood[sidecar] {
		if good.After(t) {
			return good
		}
	}
	return t.Add(24 * time.Hour)
}
