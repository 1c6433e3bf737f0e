package importing

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
)

const (
	// workers are how many records of a batch are asked about at once: enough
	// to keep pace with the refresh quota while HubSpot takes its time.
	workers = 8
	// batchTime is from when on no other record of a batch is begun.
	batchTime = 15 * time.Second
)

// Batch takes records in, in their order. It returns the results of those that
// it came to, which are the first ones: the others are to be given again. An
// error says why it stopped before its time was up; it is one of Import's.
func (i *Importer) Batch(ctx context.Context, records []importfile.Record, o Options) ([]Result, error) {
	begun := i.now()
	results, failures := make([]Result, len(records)), make([]error, len(records))
	var (
		mu      sync.Mutex
		next    int
		stopped bool
		group   sync.WaitGroup
	)
	take := func() (index int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if stopped || next == len(records) || i.now().Sub(begun) > batchTime {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(workers, len(records)) {
		group.Go(func() {
			for index, ok := take(); ok; index, ok = take() {
				results[index], failures[index] = i.Import(ctx, records[index], o)
				if failures[index] != nil {
					mu.Lock()
					stopped = true
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	for index, err := range failures[:next] {
		if err != nil {
			// What was done behind it is found to exist the next time.
			return results[:index], err
		}
	}
	return results[:next], nil
}

// Problem names what an error of Import is about, in a word.
type Problem string

// The problems.
const (
	ProblemHubSpot Problem = "hubspot_unavailable"
	ProblemApp     Problem = "app_misconfigured"
	ProblemStore   Problem = "store_unavailable"
	ProblemTime    Problem = "refresh_quota"
)

// ProblemOf names an error of Import.
func ProblemOf(err error) Problem {
	switch {
	case errors.Is(err, connection.ErrAppMisconfigured):
		return ProblemApp
	case errors.Is(err, ErrHubSpotAway):
		return ProblemHubSpot
	case errors.Is(err, connection.ErrUnavailable), errors.Is(err, connection.ErrDenied):
		return ProblemStore
	}
	return ProblemTime
}

// Passes reports whether the problem passes by itself, so that it makes sense
// to go on.
func (p Problem) Passes() bool { return p != ProblemApp }
