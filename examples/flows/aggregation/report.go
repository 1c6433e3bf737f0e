package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// pageSize is the most that a search returns at once.
const pageSize = 200

// interval is a time from, until before another.
type interval struct{ from, until time.Time }

// count is how many objects there are of a kind.
type count struct {
	kind string
	n    int
}

// countContacts counts the contacts in each lifecycle stage. Each number is that
// of a search's total: no contact is fetched, and it may be beyond 10,000.
func countContacts(ctx context.Context, hubspot *client, stages []string) ([]count, error) {
	counts := make([]count, 0, len(stages))
	for _, stage := range stages {
		found, err := hubspot.search(ctx, "contacts", query{
			FilterGroups: []filterGroup{{Filters: []filter{{"lifecyclestage", "EQ", stage}}}},
			Limit:        1,
		})
		if err != nil {
			return nil, err
		}
		counts = append(counts, count{stage, found.Total})
	}
	return counts, nil
}

// sum is what the deals of a stage come to.
type sum struct {
	deals  int
	amount *big.Rat
}

// sumDeals adds up the deals that close in a period, by stage.
func sumDeals(ctx context.Context, hubspot *client, period interval) (map[string]*sum, error) {
	sums := make(map[string]*sum)
	filters := []filter{
		{"closedate", "GTE", milliseconds(period.from)},
		{"closedate", "LT", milliseconds(period.until)},
	}
	err := eachObject(ctx, hubspot, "deals", filters, []string{"dealstage", "amount"}, func(deal object) error {
		stage := deal.property("dealstage")
		if sums[stage] == nil {
			sums[stage] = &sum{amount: new(big.Rat)}
		}
		sums[stage].deals++
		text := deal.property("amount")
		if text == "" {
			return nil
		}
		amount, ok := new(big.Rat).SetString(text)
		if !ok {
			return fmt.Errorf("deal %s: its amount %q is no number", deal.ID, text)
		}
		sums[stage].amount.Add(sums[stage].amount, amount)
		return nil
	})
	return sums, err
}

// eachObject visits every object that matches, by id, however many there are. A
// search cannot be paged through beyond 10,000 results, so it is split: each
// one asks for those above the last id of the one before. That also misses none,
// and counts none twice, when objects come or go meanwhile, as paging by "after"
// would.
func eachObject(ctx context.Context, hubspot *client, objectType string, filters []filter, properties []string, visit func(object) error) error {
	for last := "0"; ; {
		found, err := hubspot.search(ctx, objectType, query{
			FilterGroups: []filterGroup{{Filters: append(slices.Clone(filters), filter{"hs_object_id", "GT", last})}},
			Sorts:        []sorting{{"hs_object_id", "ASCENDING"}},
			Properties:   properties,
			Limit:        pageSize,
		})
		if err != nil {
			return err
		}
		for _, o := range found.Results {
			if err := visit(o); err != nil {
				return err
			}
			last = o.ID
		}
		switch {
		case found.Total <= len(found.Results):
			return nil
		case len(found.Results) == 0:
			return fmt.Errorf("a search for %d %s has found none above %s", found.Total, objectType, last)
		}
	}
}

// milliseconds is a time as filters take it.
func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// write writes the report as two tables.
func write(out io.Writer, stages []count, deals map[string]*sum) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "lifecycle stage\tcontacts")
	for _, c := range stages {
		fmt.Fprintf(table, "%s\t%d\n", c.kind, c.n)
	}
	fmt.Fprintln(table, "\ndeal stage\tdeals\tamount")
	for _, stage := range slices.Sorted(maps.Keys(deals)) {
		fmt.Fprintf(table, "%s\t%d\t%s\n", stage, deals[stage].deals, deals[stage].amount.FloatString(2))
	}
	return table.Flush()
}
