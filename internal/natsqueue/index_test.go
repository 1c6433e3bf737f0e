package natsqueue

import (
	"testing"
	"time"
)

// order takes what is next, until nothing is.
func order(x *index) (ids string) {
	for {
		e, ok, _, _ := x.next()
		if !ok {
			return ids
		}
		ids += e.ID
		x.remove(e.ID)
	}
}

// loaded is an index that owns everything.
func loaded() *index {
	x := newIndex()
	for p := range partitions {
		x.own(p)
		x.setLoaded(p)
		x.extend(p, time.Now().Add(time.Hour))
	}
	return x
}

func in(lane, id string, seq uint64) *entry {
	return &entry{ID: id, Seq: seq, App: "hbdev", Portal: 1, Lane: lane}
}

// The order of a lane is that of the stream, in whatever order its messages are found,
// and a dead letter that waits again is behind those that were there then.
func TestOrderOfALane(t *testing.T) {
	t.Parallel()
	x := loaded()
	again := in("l", "a", 1)
	again.state.Behind = 3
	for _, e := range []*entry{again, in("l", "d", 4), in("l", "c", 3), in("l", "b", 2)} {
		x.add(e)
	}
	if got := order(x); got != "bcad" {
		t.Errorf("the order is %s; want bcad", got)
	}
}

// What comes before a message that is out, and is found only then, does not stop the
// lane when the message comes back.
func TestFoundWhileTheNextIsOut(t *testing.T) {
	t.Parallel()
	x := loaded()
	x.add(in("l", "b", 2))
	if e, ok, _, _ := x.next(); !ok || e.ID != "b" {
		t.Fatalf("next = %v, %t; want b", e, ok)
	}
	x.add(in("l", "a", 1))
	if e, ok, _, _ := x.next(); ok {
		t.Fatalf("%s is next while b is out", e.ID)
	}
	x.again("b", nil)
	if got := order(x); got != "ab" {
		t.Errorf("the order is %s; want ab", got)
	}
}

// Nothing is handed out of a partition that is not loaded, not held, or to be left; what
// is out when a partition is lost and owned again does not come twice.
func TestPartitions(t *testing.T) {
	t.Parallel()
	x := loaded()
	p := in("", "", 0).partition()
	x.add(in("l", "a", 1))
	x.add(in("l", "b", 2))
	none := func(when string) {
		t.Helper()
		if e, ok, _, _ := x.next(); ok {
			t.Fatalf("%s is handed out %s", e.ID, when)
		}
	}
	x.extend(p, time.Now().Add(-time.Second))
	none("without a lease")
	x.extend(p, time.Now().Add(time.Hour))
	if x.leave(p) {
		t.Error("something is out before anything was handed out")
	}
	none("of a partition to be left")
	x.stay(p)
	if e, ok, _, _ := x.next(); !ok || e.ID != "a" {
		t.Fatalf("next = %v, %t; want a", e, ok)
	}
	if !x.leave(p) {
		t.Error("nothing is out while a is")
	}
	x.disown(p)
	x.own(p)
	x.extend(p, time.Now().Add(time.Hour))
	x.add(in("l", "a", 1))
	x.add(in("l", "b", 2))
	none("before the partition is loaded")
	x.setLoaded(p)
	none("while a is out")
	x.remove("a")
	if got := order(x); got != "b" {
		t.Errorf("the order is %s; want b", got)
	}
}
