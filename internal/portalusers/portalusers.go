// Package portalusers knows which users (customers) of an app stand for a HubSpot
// account: what the store can be asked by user only.
package portalusers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// All connections are read again when they were read longer ago than freshFor, and
// than knownTimes or unknownTimes as long as the reading took, depending on whether
// the account is known: a store with many of them is not to do little else. Once
// one has come or gone here, changedFor is long enough.
const (
	freshFor     = 10 * time.Second
	changedFor   = time.Second
	knownTimes   = 20
	unknownTimes = 5
	// readTimeout bounds one reading.
	readTimeout = 2 * time.Minute
)

// Lister reads the connections of an app; see [connection.Manager.EachOfPortals].
type Lister func(ctx context.Context, isWanted func(hubID int64) bool, do func(connection.Record) error) error

// Directory has the users of an app by account. It reads them when somebody asks,
// and not for each who does. Make one with [New]. It is safe for concurrent use.
type Directory struct {
	list   Lister
	flight singleflight.Group

	mu sync.Mutex
	// users are those of each account, sorted; nil if they were never read.
	users  map[int64][]string
	readAt time.Time
	took   time.Duration
	// changed says that this process has seen connections come or go since the
	// last reading has begun.
	changed bool
}

// New makes a Directory that has read nothing yet.
func New(list Lister) *Directory { return &Directory{list: list} }

// Users returns the users of an account, sorted; none if it has no connection.
// Users whose grant HubSpot does not take any more are among them. While the store
// does not answer, what was read last serves; an error means that nothing was. The
// slice is not to be changed.
func (d *Directory) Users(ctx context.Context, hubID int64) ([]string, error) {
	users, fresh := d.remembered(hubID)
	if fresh {
		return users, nil
	}
	done := d.flight.DoChan("", func() (any, error) {
		if _, fresh := d.remembered(hubID); fresh {
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		return nil, d.read(ctx)
	})
	var err error
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case result := <-done:
		err = result.Err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == nil {
		return nil, fmt.Errorf("finding the users of a portal: %w", err)
	}
	return d.users[hubID], nil
}

// remembered returns what is known of an account, and whether that will do.
func (d *Directory) remembered(hubID int64) (users []string, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	users, known := d.users[hubID]
	least, times := freshFor, unknownTimes
	switch {
	case d.changed:
		least = changedFor
	case known:
		times = knownTimes
	}
	return users, d.users != nil && time.Since(d.readAt) < max(least, d.took*time.Duration(times)) //nolint:durationcheck // so many times as long
}

func (d *Directory) read(ctx context.Context) error {
	d.mu.Lock()
	d.changed = false
	d.mu.Unlock()
	began := time.Now()
	users := make(map[int64][]string)
	err := d.list(ctx, func(int64) bool { return true }, func(r connection.Record) error {
		users[r.HubID] = append(users[r.HubID], r.User)
		return nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	// While the store does not answer, what there is serves as long as ever.
	d.readAt, d.took = time.Now(), time.Since(began)
	if err != nil {
		return err
	}
	for _, all := range users {
		slices.Sort(all)
	}
	d.users = users
	return nil
}

// Event implements [connection.Observer]: what happens in this process is read
// soon.
func (d *Directory) Event(e connection.Event) {
	if e.Kind == connection.EventConnected || e.Kind == connection.EventDisconnected {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.changed = true
	}
}
