package movestore

import (
	"sync"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// maxDone bounds what is remembered. What is forgotten costs a look at the old
// store.
const maxDone = 100_000

// doneSet are keys that are known to have left the old store. The zero value is
// empty.
type doneSet struct {
	mu   sync.Mutex
	keys map[connection.Key]struct{}
}

func (d *doneSet) has(key connection.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.keys[key]
	return ok
}

func (d *doneSet) add(key connection.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil || len(d.keys) >= maxDone {
		d.keys = make(map[connection.Key]struct{})
	}
	d.keys[key] = struct{}{}
}

func (d *doneSet) remove(key connection.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, key)
}
