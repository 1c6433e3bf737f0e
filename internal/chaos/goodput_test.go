package chaos_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

var fullGoodput = flag.Bool("goodput", false, "run TestGoodput with HubSpot's own quota of 110 in 10 s, which takes minutes")

// TestGoodput has 50 workers call for one portal as fast as they can, through
// one process and through three that know nothing of each other.
func TestGoodput(t *testing.T) { //nolint:tparallel // one after the other, so that each has the machine
	t.Parallel()
	calls, quota := 340, sandbox.Quota{Requests: 110, Interval: 2 * time.Second}
	if *fullGoodput {
		calls, quota = 1000, sandbox.Quota{Requests: 110, Interval: 10 * time.Second}
	}
	binary := buildCaddy(t)
	for _, sidecars := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d processes", sidecars), func(t *testing.T) {
			testGoodput(t, binary, sidecars, calls, quota)
		})
	}
}

func testGoodput(t *testing.T, binary string, sidecars, calls int, quota sandbox.Quota) {
	const workers = 50
	hubspot, err := sandbox.New(sandbox.Options{Quota: quota})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(hubspot)
	t.Cleanup(server.Close)
	processes := newNursery()
	t.Cleanup(processes.close)
	fleet := make([]*sidecar, sidecars)
	for i := range fleet {
		fleet[i] = startPlain(t, plainSidecar{binary: binary, processes: processes, number: i, hubspot: server.URL, quota: quota})
		if err := connectAcme(fleet[i]); err != nil {
			t.Fatal(err)
		}
	}

	var wg sync.WaitGroup
	var made, failed atomic.Int64
	served := make([]atomic.Int64, sidecars)
	begun := time.Now()
	for worker := range workers {
		wg.Go(func() {
			i := worker % sidecars
			client := &http.Client{Transport: fleet[i].transport}
			for made.Add(1) <= int64(calls) {
				switch status, err := callContacts(client); status {
				case http.StatusOK:
					served[i].Add(1)
				case http.StatusTooManyRequests:
					failed.Add(1)
				default:
					t.Errorf("status %d, %v", status, err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	ideal := time.Duration((calls-1)/quota.Requests) * quota.Interval
	beyond := hubspot.Stats().BeyondQuota
	counts := make([]int64, sidecars)
	for i := range served {
		counts[i] = served[i].Load()
	}
	t.Logf("%d calls by %d workers through %v: %v; ideal %v (%+.1f %%); 429s at clients %d, at sidecars %d", calls, workers, counts,
		took.Round(time.Millisecond), ideal, 100*(took.Seconds()/ideal.Seconds()-1), failed.Load(), beyond)
	if !*fullGoodput {
		// Times on a busy machine prove nothing, and with a short window a
		// call may be refused there as often as it is tried.
		if failed.Load() > int64(calls/100) {
			t.Errorf("%d calls were refused to clients", failed.Load())
		}
		return
	}
	if failed.Load() > 0 {
		t.Errorf("%d calls were refused to clients", failed.Load())
	}
	if took > ideal*105/100 {
		t.Errorf("took %v, more than 5 %% beyond %v", took, ideal)
	}
	if tolerated := int64(10 * (sidecars - 1)); beyond > tolerated {
		t.Errorf("HubSpot refused %d calls, more than %d", beyond, tolerated)
	}
}

// callContacts makes one call for acme.
func callContacts(client *http.Client) (status int, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://localhost/crm/objects/2026-09/contacts?limit=1", nil)
	if err != nil {
		return 0, err
	}
	req.Header = http.Header{"Authorization": {"Bearer " + callerKey}, "X-Hubspot-User": {"acme"}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}
