package connection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Errors of the [Manager]. Those of the store, [ErrUnavailable], [ErrDenied]
// and [ErrCorrupt], come through it as they are.
var (
	// ErrNotConnected means that the user has no connection, or no longer.
	ErrNotConnected = errors.New("user is not connected")
	// ErrReauthRequired means that HubSpot has refused the grant for good.
	ErrReauthRequired = errors.New("user has to install the app again")
	// ErrTokenUnavailable means that there is no valid access token at the
	// moment and the refresh did not give one, for a reason that passes.
	ErrTokenUnavailable = errors.New("no valid access token at the moment")
	// ErrAppMisconfigured means that HubSpot refuses the app's own
	// credentials and no valid access token is left.
	ErrAppMisconfigured = errors.New("HubSpot refuses the app's credentials")
	// ErrRefreshNeedsStore means that the access token of a known connection
	// has run out, and that a new one cannot be had safely while the store
	// takes no writes: HubSpot ends the refresh token with its use, and the
	// next one would be in this process's memory only. What the store said,
	// most often [ErrUnavailable], is wrapped beside it: look for this first.
	ErrRefreshNeedsStore = errors.New("the access token cannot be refreshed safely while the store takes no writes")
	// ErrPortalChange means that an install landed on another portal than
	// the one the connection is pinned to.
	ErrPortalChange = errors.New("connection belongs to another portal")
	// ErrPersonChange is the ErrPortalChange of an install of a user-level app
	// that landed on the same portal as another person.
	ErrPersonChange = fmt.Errorf("connection belongs to another person: %w", ErrPortalChange)
	// ErrStateUsed means that the one-time state of an install was used before.
	ErrStateUsed = errors.New("install state was used before")
	// ErrGrantEnded means that the grant of an install was revoked, or the app
	// uninstalled, while it came in: another user of the portal was being
	// disconnected. Installing again gives another one.
	ErrGrantEnded = errors.New("the grant was ended while it was being stored")
)

// Provider is HubSpot's token endpoint as seen with the credentials of one
// app; [hubspot.Client] is one.
type Provider interface {
	// Refresh trades a refresh token for a new access token. Its errors
	// are classed by [hubspot.Classify].
	Refresh(ctx context.Context, refreshToken secret.Text) (hubspot.Grant, error)
	// Revoke ends a grant; one that is dead already is no error.
	Revoke(ctx context.Context, refreshToken secret.Text) error
	// Uninstall removes the app from the account that an access token opens,
	// with all grants there. Its errors are a [*hubspot.UninstallError].
	Uninstall(ctx context.Context, accessToken secret.Text) error
}

// Token is an access token that is valid by the clock, and whose it is.
type Token struct {
	// Access goes into the Authorization header of a request to HubSpot.
	Access secret.Text
	// HubID is the portal the token opens.
	HubID int64
	// ExpiresAt is when HubSpot stops taking it.
	ExpiresAt time.Time
	// Scopes are those of the grant. They are not to be written to.
	Scopes []string
}

// Config says what a [Manager] works for and with. App, Store and Provider
// are required.
type Config struct {
	// App is the app's name in lower case.
	App      string
	Store    Store
	Provider Provider

	// MaxCached bounds the connections held in memory; the least recently
	// used go first. Zero means 100,000.
	MaxCached int
	// RefreshCount calls per RefreshPer go to the token endpoint at most,
	// over all connections of the app; fewer after a 429. Zero means that the
	// Manager finds out how many: 10 per second at first, and up to 100 while
	// more wait and no 429 comes.
	RefreshCount int
	RefreshPer   time.Duration
	// Lease is how long a claim of another process is respected that does
	// not end in a result: L in the claim protocol. Zero means 30 s. For
	// access tokens that live shorter than three times that, it is a third
	// of their life. A call to HubSpot gets a third of it.
	Lease time.Duration
	// Owner names this process in claims. It may be empty.
	Owner string
	// Fallback, if not nil, keeps copies for a start without the store.
	Fallback Fallback
	// Observer is told what happens; see [Manager.SetObserver].
	Observer Observer
	// Random draws a duration from 0 up to, not including, max, which is
	// positive; all jitter comes from it. Nil means [rand.N].
	Random func(max time.Duration) time.Duration
}

func (c Config) withDefaults() Config {
	c.MaxCached = cmp.Or(c.MaxCached, 100_000)
	c.RefreshPer = cmp.Or(c.RefreshPer, time.Second)
	c.Lease = cmp.Or(c.Lease, 30*time.Second)
	if c.Random == nil {
		c.Random = rand.N[time.Duration]
	}
	return c
}

// Manager hands out access tokens for the connections of one app and keeps
// them fresh. It refreshes by the clock, behind the callers' backs, and each
// connection once at a time: within the process by a single flight, across
// processes by the claim in the record. It is safe for concurrent use.
//
// A Manager works as soon as it is made and asks nothing of the store before
// its first call. Its goroutines end with [Manager.Close].
type Manager struct {
	config Config
	cache  *cache
	// flights has the one piece of work that may run per connection:
	// reading it anew and refreshing it when that is due.
	flights  singleflight.Group
	schedule *schedule
	budget   *budget
	alarms   *alarms
	// settling has the one piece of work that may run per user to finish
	// disconnects, and marking that to write down who holds a grant.
	settling, marking singleflight.Group
	attempts          attemptWatches
	index             index
	follower          follower
	// appTokens are those of the app itself.
	appTokens appTokens
	// rotates is set once any grant of the app was seen to rotate.
	rotates  atomic.Bool
	observer atomic.Pointer[Observer]

	// ctx lives as long as work may go on after the request that caused it.
	ctx    context.Context
	cancel context.CancelFunc
	// work counts the goroutines that hold, or write down, something that
	// must not be lost.
	work inflight
	// closing is set when no new background work may start.
	closing atomic.Bool
}

// NewManager makes a Manager and starts its scheduler.
func NewManager(config Config) *Manager {
	config = config.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		config: config,
		cache:  &cache{limit: config.MaxCached},
		budget: newBudget(config.RefreshCount, config.RefreshPer),
		alarms: newAlarms(),
		ctx:    ctx,
		cancel: cancel,
	}
	m.SetObserver(config.Observer)
	m.schedule = newSchedule(classify, m.runDue, m.laneWidth)
	return m
}

// Close stops the background refreshes and waits until what is under way is
// done and written down, or ctx ends. The Manager goes on serving what it
// knows afterwards, so that requests of an earlier configuration can finish.
func (m *Manager) Close(ctx context.Context) error {
	m.closing.Store(true)
	m.schedule.stop()
	m.stopFollowing()
	select {
	case <-m.work.idle():
		return nil
	case <-ctx.Done():
		m.cancel()
		return ctx.Err()
	}
}

func (m *Manager) key(user string) Key { return Key{App: m.config.App, User: user} }
