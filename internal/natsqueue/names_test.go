package natsqueue_test

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/natsqueue"
)

// Partitions are shared out evenly, by every sidecar alike, and portals over them.
func TestShares(t *testing.T) {
	t.Parallel()
	var members []string
	for n := 1; n <= 20; n++ {
		members = append(members, rand.Text())
		owners := natsqueue.Share(members)
		has := make(map[string]int)
		for _, owner := range owners {
			has[owner]++
		}
		for _, member := range members {
			if most := (len(owners) + n - 1) / n; has[member] > most {
				t.Errorf("one of %d sidecars has %d of %d partitions; %d is its share", n, has[member], len(owners), most)
			}
		}
		slices.Reverse(members)
		if natsqueue.Share(members) != owners {
			t.Error("the order of the sidecars changes their shares")
		}
	}
	portals := make(map[int]int)
	for portal := range int64(1600) {
		portals[natsqueue.PartitionOf("hbdev", portal)]++
	}
	for p, n := range portals {
		if n < 50 || n > 200 {
			t.Errorf("partition %d has %d of 1600 portals", p, n)
		}
	}
}
