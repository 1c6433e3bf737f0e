package connection

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// followEvery is the time from one reading of the board to the next, and
	// followIdle that of a process which knows no connection and no
	// disconnect: what another process did is seen within 10 s.
	followEvery = 4 * time.Second
	followIdle  = 20 * time.Second
	// retryFirst is how long a disconnect is left to the process that began
	// it, or to HubSpot after a first failure; retryMax the longest wait.
	retryFirst = 12 * time.Second
	retryMax   = 45 * time.Second
	// settleWidth and rereadWidth bound what is done at once because of the
	// board.
	settleWidth = 8
	rereadWidth = 16
)

// follower is what a process knows of the board.
type follower struct {
	once sync.Once
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	read    bool
	version uint64
	last    uint64
	under   []notice
	// retries are when disconnects are tried again, by their notices' IDs.
	retries  map[string]*retry
	overflow uint64
}

// Follow has the Manager read, every few seconds, what other processes did:
// connections that they ended or made anew are read again, and disconnects
// that nobody finishes are finished here. It ends with [Manager.Close]. Calling
// it again does nothing.
func (m *Manager) Follow() {
	m.follower.once.Do(func() {
		ctx, cancel := context.WithCancel(m.ctx)
		m.follower.mu.Lock()
		m.follower.stop, m.follower.done = cancel, make(chan struct{})
		m.follower.mu.Unlock()
		go m.follow(ctx, m.follower.done)
	})
}

// stopFollowing ends Follow and waits for it.
func (m *Manager) stopFollowing() {
	m.follower.once.Do(func() {}) // it cannot begin any more
	m.follower.mu.Lock()
	stop, done := m.follower.stop, m.follower.done
	m.follower.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
}

func (m *Manager) follow(ctx context.Context, done chan struct{}) {
	defer close(done)
	var next time.Time
	for sleep(ctx, m.jitter(followEvery)) {
		// An idle process may know a connection by now, and needs to know soon
		// what others do to it.
		if !m.isIdle() || !time.Now().Before(next) {
			next = time.Now().Add(m.readBoard(ctx))
		}
	}
}

// isIdle reports whether this process knows no connection, and no disconnect
// that is under way.
func (m *Manager) isIdle() bool {
	n, more := m.Disconnecting()
	return n == 0 && !more && m.cache.size.Load() == 0
}

// readBoard reads the board, does what it calls for, and returns how long an
// idle process may leave it alone.
func (m *Manager) readBoard(ctx context.Context) time.Duration {
	b := newBoard()
	version, err := m.loadSheet(ctx, boardName, b)
	if err != nil {
		return 0
	}
	users, all := m.follower.learn(b, version)
	if all {
		users = m.cache.users()
	}
	for _, n := range b.Disconnects {
		users = append(users, n.User)
	}
	m.reread(ctx, users)
	m.settleDue(ctx, b)
	return followIdle
}

// learn takes a reading of the board and returns whose connections have to be
// read again.
func (f *follower) learn(b *board, version uint64) (users []string, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.read || version != f.version {
		users, all = b.missed(f.last)
		all = all && f.read // at first nothing older is known
		if !f.read {
			users, _ = b.missed(0)
		}
	}
	f.read, f.version, f.last, f.overflow = true, version, b.Last, b.Overflow
	f.under = b.Disconnects
	return users, all
}

// Disconnecting counts the disconnects that are under way, as the store said a
// few seconds ago. more says that there are some beside them.
func (m *Manager) Disconnecting() (n int, more bool) {
	m.follower.mu.Lock()
	defer m.follower.mu.Unlock()
	return len(m.follower.under), m.follower.overflow != 0
}

// reread reads connections again that are in memory.
func (m *Manager) reread(ctx context.Context, users []string) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(rereadWidth)
	for _, user := range users {
		e := m.cache.get(user)
		if e == nil || e.view.Load() == nil {
			continue
		}
		group.Go(func() error {
			stored, err := m.config.Store.Load(ctx, m.key(user))
			if err == nil {
				m.adopt(e, stored)
			}
			return nil // a store that is away is asked again by the clock
		})
	}
	_ = group.Wait()
}

// settleDue goes on with the disconnects on the board whose time has come.
func (m *Manager) settleDue(ctx context.Context, b *board) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(settleWidth)
	for _, n := range m.follower.due(b.Disconnects, m.jitter) {
		group.Go(func() error {
			m.settleNotice(ctx, n)
			return nil
		})
	}
	_ = group.Wait()
	if b.Overflow != 0 && ctx.Err() == nil {
		m.settleAll(ctx, b.Overflow)
	}
}

// due returns the notices that are to be tried now, and plans the next try of
// all of them.
func (f *follower) due(notices []notice, jitter func(time.Duration) time.Duration) []notice {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, kept := time.Now(), make(map[string]*retry, len(notices))
	var due []notice
	for _, n := range notices {
		r := f.retries[n.ID]
		if r == nil {
			r = &retry{wait: retryFirst}
			r.at = now.Add(jitter(r.wait))
		} else if !now.Before(r.at) {
			due = append(due, n)
			r.wait = min(2*r.wait, retryMax)
			r.at = now.Add(jitter(r.wait))
		}
		kept[n.ID] = r
	}
	f.retries = kept
	return due
}

// settleNotice goes on with a disconnect and takes it off the board when it is
// finished, or was never begun.
func (m *Manager) settleNotice(ctx context.Context, n notice) {
	finished, err := m.settle(ctx, n.User)
	if err == nil && finished {
		_ = m.withdraw(ctx, n) // it is found finished the next time
	}
}

// settleAll goes on with all disconnects that the records tell of: there were
// more than the board holds.
func (m *Manager) settleAll(ctx context.Context, overflow uint64) {
	left := false
	for cursor := ""; ; {
		page, err := m.config.Store.List(ctx, m.config.App, cursor, indexPage)
		if err != nil {
			return
		}
		for _, stored := range page.Records {
			if !stored.unsettled() {
				continue
			}
			finished, err := m.settle(ctx, stored.User)
			left = left || !finished || err != nil
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if left {
		return
	}
	_ = m.changeBoard(ctx, func(b *board) {
		if b.Overflow == overflow {
			b.Overflow = 0
		}
	})
}
