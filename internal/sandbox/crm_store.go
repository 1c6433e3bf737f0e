package sandbox

import (
	"fmt"
	"maps"
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

// table holds the objects of one type in one portal.
type table struct {
	*objectType

	mu      sync.RWMutex
	objects map[int64]*object
	order   []int64 // all ids, ascending
	emails  map[string]int64
	nextID  int64
}

// crm is the data of one portal, seeded when it is first used.
type crm struct {
	now    func() time.Time
	tables func() map[string]*table
}

func newCRM(p *Portal, types schema, now func() time.Time) *crm {
	return &crm{now: now, tables: sync.OnceValue(func() map[string]*table { return seed(p, types) })}
}

// table returns the table of a type that may stand in a path.
func (c *crm) table(name string) (*table, bool) {
	t, ok := objectTypeNamed(name)
	if !ok {
		return nil, false
	}
	return c.tables()[t.name], true
}

func newTable(t *objectType, firstID int64) *table {
	return &table{objectType: t, objects: make(map[int64]*object), emails: make(map[string]int64), nextID: firstID}
}

// conflictError says that a unique value is taken.
type conflictError struct {
	singular string
	id       int64
}

func (e *conflictError) Error() string {
	return fmt.Sprintf("%s%s already exists. Existing ID: %d", strings.ToUpper(e.singular[:1]), e.singular[1:], e.id)
}

// insert stores a new object with the given properties.
func (t *table) insert(values map[string]string, now time.Time) (*object, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.free(values["email"], 0); err != nil {
		return nil, err
	}
	o := &object{id: t.nextID, created: now, modified: now, properties: make(map[string]string, len(values)+3)}
	t.nextID++
	maps.Copy(o.properties, values)
	o.properties[t.created] = instant(now)
	t.put(o)
	t.order = append(t.order, o.id)
	return o, nil
}

// update changes properties of an object that is not archived. It returns
// nil if there is none.
func (t *table) update(id int64, values map[string]string, now time.Time) (*object, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.objects[id]
	if !ok || !old.archived.IsZero() {
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
		return &conflictError{t.singular, other}
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
func (t *table) get(id int64, archived bool) (*object, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	o, ok := t.objects[id]
	if !ok || o.archived.IsZero() == archived {
		return nil, false
	}
	return o, true
}

// byEmail finds a contact by its address.
func (t *table) byEmail(email string) (*object, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, ok := t.emails[strings.ToLower(email)]
	if !ok {
		return nil, false
	}
	return t.objects[id], true
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
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]*object, 0, len(t.order))
	for _, id := range t.order {
		if o := t.objects[id]; o.archived.IsZero() {
			out = append(out, o)
		}
	}
	return out
}
