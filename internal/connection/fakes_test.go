package connection_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// memStore is a store whose failures a test decides.
type memStore struct {
	ledger
	mu      sync.Mutex
	records map[connection.Key]connection.Versioned
	erased  map[connection.Key]uint64
	loads   int
	saves   int
	// fail, if set, is asked before each call and may return an error.
	fail func(op string) error
	// loseAnswer, if set, is asked after each save and may return an error
	// although the save was done.
	loseAnswer func() error
	// beforeSave, if set, runs before a save, without the lock.
	beforeSave func(r connection.Record)
}

func newMemStore() *memStore {
	return &memStore{
		ledger:  ledger{sheets: make(map[string]sheet)},
		records: make(map[connection.Key]connection.Versioned),
		erased:  make(map[connection.Key]uint64),
	}
}

// sheet is a text of a ledger.
type sheet struct {
	text    string
	version uint64
}

// ledger is a [connection.Ledger] in memory. The zero value takes no sheets.
type ledger struct {
	sheetMu sync.Mutex
	sheets  map[string]sheet
	// refuse, if set, is asked before each call of a sheet.
	refuse func(op, name string) error
}

func (l *ledger) asked(op, name string) error {
	if l.refuse == nil {
		return nil
	}
	return l.refuse(op, name)
}

func (l *ledger) LoadSheet(_ context.Context, app, name string) (string, uint64, error) {
	l.sheetMu.Lock()
	defer l.sheetMu.Unlock()
	if err := l.asked("load", name); err != nil {
		return "", 0, err
	}
	stored := l.sheets[app+"/"+name]
	if stored.version == 0 {
		return "", 0, connection.ErrNotFound
	}
	return stored.text, stored.version, nil
}

func (l *ledger) SaveSheet(_ context.Context, app, name, text string, based uint64) (uint64, error) {
	l.sheetMu.Lock()
	defer l.sheetMu.Unlock()
	if err := l.asked("save", name); err != nil {
		return 0, err
	}
	if l.sheets == nil {
		return 0, connection.ErrUnavailable
	}
	if l.sheets[app+"/"+name].version != based {
		return 0, connection.ErrConflict
	}
	l.sheets[app+"/"+name] = sheet{text, based + 1}
	return based + 1, nil
}

func (l *ledger) Mark(_ context.Context, app, text string) (string, error) {
	sum := sha256.Sum256([]byte("mark " + app + "\x00" + text))
	return hex.EncodeToString(sum[:16]), nil
}

func (s *memStore) check(op string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(op)
}

func (s *memStore) Load(_ context.Context, key connection.Key) (connection.Versioned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if err := s.check("load"); err != nil {
		return connection.Versioned{}, err
	}
	v, ok := s.records[key]
	if !ok {
		return connection.Versioned{}, connection.ErrNotFound
	}
	return v, nil
}

func (s *memStore) Save(_ context.Context, r connection.Record, based uint64) (uint64, error) {
	s.mu.Lock()
	before := s.beforeSave
	s.mu.Unlock()
	if before != nil {
		before(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if err := s.check("save"); err != nil {
		return 0, err
	}
	if s.records[r.Key].Version != based {
		return 0, connection.ErrConflict
	}
	s.records[r.Key] = connection.Versioned{Record: r, Version: based + 1}
	if s.loseAnswer != nil {
		if err := s.loseAnswer(); err != nil {
			return 0, err
		}
	}
	return based + 1, nil
}

func (s *memStore) Erase(_ context.Context, key connection.Key, keep uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check("erase"); err != nil {
		return err
	}
	s.erased[key] = keep
	return nil
}

func (s *memStore) List(_ context.Context, app, cursor string, limit int) (connection.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check("list"); err != nil {
		return connection.Page{}, err
	}
	var page connection.Page
	keys := slices.SortedFunc(maps.Keys(s.records), func(a, b connection.Key) int { return strings.Compare(a.User, b.User) })
	for _, key := range keys {
		if key.App != app || key.User <= cursor {
			continue
		}
		if len(page.Records) == limit {
			page.Next = page.Records[limit-1].User
			break
		}
		page.Records = append(page.Records, s.records[key])
	}
	return page, nil
}

func (s *memStore) ID(_ context.Context, key connection.Key) (string, error) {
	sum := sha256.Sum256([]byte(key.App + "\x00" + key.User))
	return hex.EncodeToString(sum[:16]), nil
}

func (s *memStore) get(user string) connection.Versioned {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[connection.Key{App: app, User: user}]
}

func (s *memStore) set(change func(*connection.Record), user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := connection.Key{App: app, User: user}
	v := s.records[key]
	v.Version++
	v.WriteID = fmt.Sprint("by test ", v.Version)
	change(&v.Record)
	s.records[key] = v
}

// add puts a connection into the store as an earlier version of this program
// would have: the ledger does not know it.
func (s *memStore) add(user, refresh string, hubID int64) {
	s.set(func(r *connection.Record) {
		*r = connection.Record{
			Key: connection.Key{App: app, User: user}, Status: connection.StatusActive, HubID: hubID,
			Generation: "of " + user, AccessToken: secret.New("first-" + refresh), RefreshToken: secret.New(refresh),
			IssuedAt: time.Now(), ExpiresAt: time.Now().Add(30 * time.Minute), ConnectedAt: time.Now(), WriteID: user,
		}
	}, user)
}

// configure changes what the store does while it may be in use.
func (s *memStore) configure(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *memStore) loadCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

func (s *memStore) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = func(string) error { return err }
}

func (s *memStore) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = nil
}

// try is a refresh that was asked for.
type try struct {
	token string
	at    time.Time
}

// provider is a token endpoint. Each refresh token has one successor; with
// rotating set, using one ends it.
type provider struct {
	mu        sync.Mutex
	life      time.Duration
	delay     time.Duration
	rotating  bool
	valid     map[string]bool
	refreshes int
	revoked   []string
	// uninstalled are access tokens with which the app was removed, and
	// uninstallErr is what that meets. beforeRevoke, if set, is asked, with the
	// lock, before a token is revoked.
	uninstalled  []string
	uninstallErr error
	beforeRevoke func(token string) error
	err          error
	// answers, if set, is asked before a refresh token is used; its grant, if
	// it has an access token, or its error is the answer.
	answers  func(token string) (hubspot.Grant, error)
	tries    []try
	running  int
	overlaps int
}

func newProvider(valid ...string) *provider {
	p := &provider{life: 30 * time.Minute, delay: 100 * time.Millisecond, valid: make(map[string]bool)}
	for _, token := range valid {
		p.valid[token] = true
	}
	return p
}

func (p *provider) Refresh(ctx context.Context, token secret.Text) (hubspot.Grant, error) {
	p.mu.Lock()
	p.tries = append(p.tries, try{token.Reveal(), time.Now()})
	delay := p.delay
	p.running++
	if p.running > 1 {
		p.overlaps++
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.running--
		p.mu.Unlock()
	}()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return hubspot.Grant{}, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refreshes++
	if p.err != nil {
		return hubspot.Grant{}, p.err
	}
	if p.answers != nil {
		if grant, err := p.answers(token.Reveal()); err != nil || !grant.AccessToken.IsZero() {
			return grant, err
		}
	}
	if !p.valid[token.Reveal()] {
		return hubspot.Grant{}, deadGrant()
	}
	next := token.Reveal()
	if p.rotating {
		delete(p.valid, next)
		next += "'"
		p.valid[next] = true
	}
	return hubspot.Grant{
		AccessToken:  secret.New(fmt.Sprintf("access-%s-%d", next, p.refreshes)),
		RefreshToken: secret.New(next),
		HubID:        1,
		ExpiresIn:    p.life,
	}, nil
}

// accepts reports whether a refresh token would work.
func (p *provider) accepts(token secret.Text) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.valid[token.Reveal()]
}

func (p *provider) Revoke(_ context.Context, token secret.Text) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if p.beforeRevoke != nil {
		if err := p.beforeRevoke(token.Reveal()); err != nil {
			return err
		}
	}
	p.revoked = append(p.revoked, token.Reveal())
	delete(p.valid, token.Reveal())
	return nil
}

func (p *provider) Uninstall(_ context.Context, access secret.Text) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if p.uninstallErr != nil {
		return p.uninstallErr
	}
	p.uninstalled = append(p.uninstalled, access.Reveal())
	clear(p.valid)
	return nil
}

// ended are the refresh tokens that were revoked and the access tokens with
// which the app was uninstalled.
func (p *provider) ended() (revoked, uninstalled []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.revoked), slices.Clone(p.uninstalled)
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refreshes
}

// triesSince are the refresh tokens that were used since t, in order.
func (p *provider) triesSince(t time.Time) []try {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.tries, func(x try) bool { return !x.at.Before(t) })
	if i < 0 {
		return nil
	}
	return slices.Clone(p.tries[i:])
}

func deadGrant() error {
	return &hubspot.TokenError{Class: hubspot.ClassDeadGrant, HTTPStatus: 400, Code: "invalid_grant", Status: "BAD_REFRESH_TOKEN"}
}

func misconfigured() error {
	return &hubspot.TokenError{Class: hubspot.ClassMisconfigured, HTTPStatus: 400, Code: "invalid_client", Status: "BAD_CLIENT_SECRET"}
}

func transient() error {
	return &hubspot.TokenError{Class: hubspot.ClassTransient, HTTPStatus: 503}
}

// recorder collects events.
type recorder struct {
	mu     sync.Mutex
	events []connection.Event
}

func (r *recorder) Event(e connection.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []connection.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) count(kind connection.EventKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
