package sandbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// object is one CRM record. Objects are never changed once they are in a
// table: a change puts a new one in its place, so that readers need the lock
// only to find them.
type object struct {
	id         int64
	properties map[string]string // without empty values
	created    time.Time
	modified   time.Time
	archived   time.Time // zero while it is not
}

type table struct {
	*objectType

	mu      sync.RWMutex
	objects map[int64]*object
	order   []int64 // all ids, ascending
	emails  map[string]int64
	nextID  int64
}

func newTable(t *objectType, firstID int64) *table {
	return &table{objectType: t, objects: make(map[int64]*object), emails: make(map[string]int64), nextID: firstID}
}

// taken is the error for a unique value that the object id has.
func (t *objectType) taken(id int64) error {
	return fmt.Errorf("%s%s already exists. Existing ID: %d", strings.ToUpper(t.singular[:1]), t.singular[1:], id)
}

func (t *table) insert(values map[string]string, now time.Time) (*object, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.free(values["email"], 0); err != nil {
		return nil, err
	}
	o := &object{id: t.nextID, created: now, modified: now, properties: make(map[string]string, len(values)+3)}
	t.nextID++
	maps.Copy(o.properties, values)
	o.properties["createdate"] = instant(now)
	t.put(o)
	t.order = append(t.order, o.id)
	return o, nil
}

// update changes properties of an object that is not archived. It returns
// nil if there is none.
func (t *table) update(id int64, values map[string]string, now time.Time) (*object, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.objects[id]
	if old == nil || !old.archived.IsZero() {
		return nil, nil
	}
	if err := t.free(values["email"], id); err != nil {
		return nil, err
	}
	o := *old
	o.properties, o.modified = maps.Clone(old.properties), now
	maps.Copy(o.properties, values)
	delete(t.emails, old.properties["email"])
	t.put(&o)
	return &o, nil
}

// archive puts an object into the recycling bin, if there is one.
func (t *table) archive(id int64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.objects[id]
	if !ok || !old.archived.IsZero() {
		return
	}
	o := *old
	o.archived, o.modified = now, now
	t.objects[id] = &o
	delete(t.emails, old.properties["email"])
}

// free checks that an e-mail address belongs to no other contact.
func (t *table) free(email string, self int64) error {
	if email == "" {
		return nil
	}
	if other, taken := t.emails[email]; taken && other != self {
		return t.taken(other)
	}
	return nil
}

// put stores a current version and the properties that follow from it.
func (t *table) put(o *object) {
	maps.DeleteFunc(o.properties, func(_, value string) bool { return value == "" })
	o.properties["hs_object_id"] = strconv.FormatInt(o.id, 10)
	o.properties[t.modified] = instant(o.modified)
	t.objects[o.id] = o
	if email := o.properties["email"]; email != "" && t.name == "contacts" {
		t.emails[email] = o.id
	}
}

// get finds an object by id; archived ones are a world of their own.
func (t *table) get(id int64, archived bool) *object {
	t.mu.RLock()
	defer t.mu.RUnlock()
	o := t.objects[id]
	if o == nil || o.archived.IsZero() == archived {
		return nil
	}
	return o
}

func (t *table) byEmail(email string) *object {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.objects[t.emails[strings.ToLower(email)]] // no object has the id 0
}

// page returns up to limit objects with ids from first on, in order, and
// the id that the next page starts at, zero after the last.
func (t *table) page(first int64, limit int, archived bool) (found []*object, next int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	start, _ := slices.BinarySearch(t.order, first)
	for _, id := range t.order[start:] {
		o := t.objects[id]
		if o.archived.IsZero() == archived {
			continue
		}
		if len(found) == limit {
			return found, id
		}
		found = append(found, o)
	}
	return found, 0
}

// all returns the objects that are not archived, by id.
func (t *table) all() []*object {
	found, _ := t.page(0, math.MaxInt, false)
	return found
}
