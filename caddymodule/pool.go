package caddymodule

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// pool holds what outlives a config reload: stores, connection managers with
// their cached tokens, metrics and sandboxes. Each value is there as long as
// a config uses it, and each key is made from everything that shapes the
// value, so that a changed setting gives another value.
var pool = caddy.NewUsagePool()

// poolKey names a pooled value. It can be compared and shows nothing.
type poolKey struct {
	kind string
	sum  [sha256.Size]byte
}

// processSecret keys the sums of pool keys, which are made from secrets too:
// a key that shows up in a dump cannot be searched for what it was made of.
var processSecret = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key)
	return key
})

// keyMaker makes a pool key from named settings.
type keyMaker struct {
	kind string
	mac  hash.Hash
}

func newKeyMaker(kind string) *keyMaker {
	return &keyMaker{kind: kind, mac: hmac.New(sha256.New, processSecret())}
}

// add takes values into the key. Their number and lengths count.
func (k *keyMaker) add(name string, values ...string) *keyMaker {
	k.text(name)
	k.number(len(values))
	for _, v := range values {
		k.text(v)
	}
	return k
}

func (k *keyMaker) text(s string) {
	k.number(len(s))
	k.mac.Write([]byte(s))
}

func (k *keyMaker) number(n int) {
	k.mac.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func (k *keyMaker) key() poolKey {
	key := poolKey{kind: k.kind}
	k.mac.Sum(key.sum[:0])
	return key
}

// String tells pool keys of one kind apart and shows nothing else.
func (k poolKey) String() string { return fmt.Sprintf("%s-%x", k.kind, k.sum[:4]) }

// acquire takes the pooled value of key, which is made if there is none.
// release gives it back; it may be called once or more, and not at all if
// acquire failed.
func acquire[T caddy.Destructor](key poolKey, construct func() (T, error)) (value T, release func(), err error) {
	pooled, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return construct() })
	if err != nil {
		return value, nil, err
	}
	release = sync.OnceFunc(func() { _, _ = pool.Delete(key) })
	return pooled.(T), release, nil
}

// newest is a value that each config using a pooled thing brings along, such
// as its logger. The thing uses the one of the config that came last; when
// that config goes (it may have failed to load), the one before it again.
type newest[T any] struct {
	mu  sync.Mutex
	all []*T
	cur atomic.Pointer[T]
}

// attach makes v the newest value. detach takes it back.
func (n *newest[T]) attach(v T) (detach func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	entry := &v
	n.all = append(n.all, entry)
	n.cur.Store(entry)
	return sync.OnceFunc(func() { n.detach(entry) })
}

// detach removes an entry. The last of all stays in use: requests of its
// config may still be running.
func (n *newest[T]) detach(entry *T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, e := range n.all {
		if e == entry {
			n.all = append(n.all[:i:i], n.all[i+1:]...)
			break
		}
	}
	if len(n.all) > 0 {
		n.cur.Store(n.all[len(n.all)-1])
	}
}

// get returns the newest value; ok is false before the first attach.
func (n *newest[T]) get() (v T, ok bool) {
	if p := n.cur.Load(); p != nil {
		return *p, true
	}
	return v, false
}

// closeTimeout is how long the end of a pooled value may take. It covers a
// call to HubSpot and writing down its result.
const closeTimeout = 30 * time.Second

// closings are the ends of pooled values that are under way.
var closings sync.WaitGroup

// waitForClosings makes the exit of the process wait for closings.
var waitForClosings = sync.OnceFunc(func() {
	caddy.OnExit(func(context.Context) { closings.Wait() })
})

// closeSoon runs the end of a pooled value in the background, so that a
// reload does not wait for it. When the process exits, the exit waits: what
// is under way would be lost.
func closeSoon(end func(ctx context.Context)) {
	waitForClosings()
	closings.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		end(ctx)
	})
}
