package scopeuse

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// What several sidecars know comes to the same in whatever order, and however
// often, it is put together, although each set is bounded at each step.
func TestMergeInAnyOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	someone := func() knowledge {
		k := knowledge{Since: random.Int64N(3), Seen: day(random.IntN(9))}
		for range 500 {
			c := clause(fmt.Sprintf("scope.%d", random.IntN(120)))
			note(&k.Endpoints, fmt.Sprintf("GET /%d", random.IntN(400)), c, day(1+random.IntN(9)))
			note(&k.Refused, c, fmt.Sprintf("%012d", random.IntN(150)), day(1+random.IntN(9)))
			mergeLatest(&k.Needed, map[string]hour{fmt.Sprintf("scope.%d", random.IntN(400)): hour(random.IntN(20))})
		}
		return k
	}
	together := func(order []int, all []knowledge) knowledge {
		var k knowledge
		for _, i := range order {
			k.merge(all[i])
			k.bound(1)
		}
		return k
	}
	all := []knowledge{someone(), someone(), someone(), someone(), someone()}
	want := together([]int{0, 1, 2, 3, 4}, all)
	if countAll(want.Endpoints) != maxEndpoints || countAll(want.Refused) != maxRefused || len(want.Needed) != maxNeeded {
		t.Fatalf("the bounds are not reached: %d %d %d", len(want.Endpoints), len(want.Refused), len(want.Needed))
	}
	for range 20 {
		order := append(random.Perm(len(all)), random.Perm(len(all))...)
		if got := together(order, all); !reflect.DeepEqual(got, want) {
			t.Errorf("in the order %v it comes to something else", order)
		}
	}
}
