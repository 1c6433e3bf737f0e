// Package pool holds what outlives a config reload: stores, connection
// managers with their cached tokens, metrics and sandboxes. A value is there
// for as long as a config uses it, and its [Key] is made from everything that
// shapes it, so that a changed setting gives another value.
package pool

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// values is the pool of the process. Caddy runs one config at a time, and
// configs find what the one before them has left by this only.
var values = caddy.NewUsagePool()

// Acquire takes the pooled value of key, which is made if there is none.
// release gives it back; it may be called once or more, and not at all if
// Acquire failed. When nobody has the value any more, its Destruct is called.
func Acquire[T caddy.Destructor](key Key, construct func() (T, error)) (value T, release func(), err error) {
	pooled, _, err := values.LoadOrNew(key, func() (caddy.Destructor, error) { return construct() })
	if err != nil {
		return value, nil, err
	}
	release = sync.OnceFunc(func() { _, _ = values.Delete(key) })
	return pooled.(T), release, nil
}

// Range calls f with everything that is in the pool until f returns false. It
// is for tests.
func Range(f func(key Key, value any) bool) {
	values.Range(func(key, value any) bool { return f(key.(Key), value) })
}

// References returns how many uses of a value there are; 0 where there is no
// value. It is for tests.
func References(key Key) int {
	n, _ := values.References(key)
	return n
}

// closeTimeout is how long the end of a pooled value may take. It covers a
// call to HubSpot and writing down its result.
const closeTimeout = 30 * time.Second

// closings are the ends of pooled values that are under way.
var closings sync.WaitGroup

// waitAtExit makes the exit of the process wait for closings.
var waitAtExit = sync.OnceFunc(func() {
	caddy.OnExit(func(context.Context) { WaitForClosings() })
})

// CloseSoon runs the end of a pooled value in the background, so that a reload
// does not wait for it; its context ends after half a minute. When the process
// exits, the exit waits: what is under way would be lost.
func CloseSoon(end func(ctx context.Context)) {
	waitAtExit()
	closings.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		end(ctx)
	})
}

// WaitForClosings waits until everything that was given to [CloseSoon] has
// ended.
func WaitForClosings() { closings.Wait() }
