package relay_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxHeap is the most that any of these may take, in bytes of the heap.
const maxHeap = 300 << 20

// maxTook is the longest that one of them may take. They take less than a
// second; the race detector makes that ten times as much, others on the machine
// still more.
const maxTook = 2 * time.Minute

// measure runs something and returns how far the heap grew meanwhile, at its
// peak. The heap is that of the process, so such tests run alone.
func measure(t *testing.T, run func()) (peak uint64, took time.Duration) {
	t.Helper()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before := stats.HeapAlloc
	stop := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&stats)
			peak = max(peak, stats.HeapInuse)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	begun := time.Now()
	run()
	took = time.Since(begun)
	close(stop)
	sampler.Wait()
	peak -= min(peak, before)
	t.Logf("peak of the heap: %d MiB more than before, in %v", peak>>20, took.Round(time.Millisecond))
	return peak, took
}

// large is an upstream that answers with so many random bytes, and reads
// whatever it gets.
func large(t *testing.T, size int64) *httptest.Server {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Got", fmt.Sprint(n))
		_, _ = io.CopyN(w, rand.NewChaCha8([32]byte{}), size)
	}))
	t.Cleanup(upstream.Close)
	return upstream
}

// counted makes a request and counts the bytes of the answer.
func (h *harness) counted(method, target string, body io.Reader, header ...string) (resp *http.Response, n int64) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, testBase+target, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if sized, ok := body.(*sizedBody); ok {
		req.ContentLength = sized.size
	}
	req.Header.Set("Authorization", "Bearer "+testCallerKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := h.Client()
	client.Timeout = 0 // as long as the test
	if resp, err = client.Do(req); err != nil {
		h.t.Error(err)
		return new(http.Response), 0
	}
	defer func() { _ = resp.Body.Close() }()
	if n, err = io.Copy(io.Discard, resp.Body); err != nil {
		h.t.Error(err)
	}
	return resp, n
}

// Large binary answers stream through envelopes, several at once.
func TestMemoryOfLargeAnswersInEnvelopes(t *testing.T) {
	const size = 63 << 20
	h := startProxy(t, large(t, size).URL)
	for _, calls := range []int{1, 3} {
		peak, took := measure(t, func() {
			var all sync.WaitGroup
			for range calls {
				all.Go(func() {
					body := form("method", "GET", "url", "/files/x", "userForeignIdentifier", "acme")
					resp, n := h.counted("POST", "/raw/hbdev", strings.NewReader(body), "Content-Type", formType)
					if want := int64((size+2)/3*4 + len(`{"data":"","encoding":"base64"}`)); resp.StatusCode != 200 || n != want {
						t.Errorf("%s with %d bytes, want %d", resp.Status, n, want)
					}
				})
			}
			all.Wait()
		})
		if peak > maxHeap/10 || took > maxTook {
			t.Errorf("%d at once: %d MiB in %v", calls, peak>>20, took)
		}
	}
}

// An envelope cannot make many headers of few bytes.
func TestMemoryOfManyHeadersInAnEnvelope(t *testing.T) {
	h := startProxy(t, large(t, 2).URL)
	names := `"headers":{` + strings.TrimSuffix(strings.Repeat(`"x":"",`, 1_500_000), ",") + `}`
	var distinct strings.Builder
	distinct.WriteString(`"headers":{"a":""`)
	for i := range 1_500_000 {
		fmt.Fprintf(&distinct, `,"h%d":""`, i)
	}
	distinct.WriteString("}")
	var fields strings.Builder
	fields.WriteString(`"a":""`)
	for i := range 1_500_000 {
		fmt.Fprintf(&fields, `,"f%d":""`, i)
	}
	for name, headers := range map[string]string{
		"distinct fields": fields.String(),
		"the same name":   names,
		"names":           distinct.String(),
		"values":          `"headers":{"a":[` + strings.TrimSuffix(strings.Repeat(`"",`, 9_000_000), ",") + `]}`,
		"as a text":       `"headers":"{` + strings.TrimSuffix(strings.Repeat(`\"x\":\"\",`, 1_500_000), ",") + `}"`,
		"fields":          strings.TrimSuffix(strings.Repeat(`"x":"",`, 1_500_000), ","),
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"method":"GET","url":"/crm/x","userForeignIdentifier":"acme",` + headers + `}`
			peak, took := measure(t, func() {
				resp, _ := h.counted("POST", "/raw/hbdev", strings.NewReader(body), "Content-Type", jsonType)
				if resp.StatusCode != http.StatusBadRequest {
					t.Errorf("%s", resp.Status)
				}
			})
			if peak > maxHeap || took > maxTook {
				t.Errorf("%d MiB in %v", peak>>20, took)
			}
		})
	}
}

// A form cannot make many fields of few bytes.
func TestMemoryOfManyFieldsInAForm(t *testing.T) {
	h := startProxy(t, large(t, 2).URL)
	var body strings.Builder
	for i := range 3_000_000 {
		fmt.Fprintf(&body, "&%d=", i)
	}
	peak, took := measure(t, func() {
		if resp, _ := h.counted("POST", "/raw/hbdev", strings.NewReader(body.String()), "Content-Type", formType); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s", resp.Status)
		}
	})
	if peak > maxHeap || took > maxTook {
		t.Errorf("%d MiB in %v", peak>>20, took)
	}
}

// Memory is for what has come, not for what a client says will.
func TestMemoryOfAnnouncedEnvelopes(t *testing.T) {
	h := startProxy(t, large(t, 2).URL)
	const calls = 100
	waits, goOn := make(chan bool, calls), make(chan bool)
	var all sync.WaitGroup
	peak, _ := measure(t, func() {
		for range calls {
			all.Go(func() {
				r := httptest.NewRequest("POST", testBase+"/raw/hbdev", io.NopCloser(readerFunc(func([]byte) (int, error) {
					waits <- true
					<-goOn
					return 0, io.ErrUnexpectedEOF
				})))
				r.ContentLength = 31 << 20
				r.Header.Set("Authorization", "Bearer "+testCallerKey)
				r.Header.Set("Content-Type", jsonType)
				h.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		for range calls {
			<-waits
		}
	})
	close(goOn)
	all.Wait()
	if peak > maxHeap/3 {
		t.Errorf("%d MiB", peak>>20)
	}
}

// Bodies of any length pass without being held, both ways.
func TestMemoryOfTransparentBodies(t *testing.T) {
	const size = 60 << 20
	h := startProxy(t, large(t, size).URL)
	for _, announced := range []bool{true, false} {
		peak, _ := measure(t, func() {
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					var body io.Reader = io.LimitReader(rand.NewChaCha8([32]byte{}), size)
					header := []string{"X-HubSpot-User", "acme"}
					if announced {
						body = &sizedBody{body, size}
					}
					resp, n := h.counted("POST", "/files/x", body, header...)
					if resp.StatusCode != 200 || n != size || resp.Header.Get("X-Got") != fmt.Sprint(size) {
						t.Errorf("%s with %d bytes, HubSpot got %s", resp.Status, n, resp.Header.Get("X-Got"))
					}
				})
			}
			all.Wait()
		})
		if peak > 30<<20 {
			t.Errorf("announced %v: %d MiB", announced, peak>>20)
		}
	}
}

// sizedBody is a body of which [harness.counted] announces the length.
type sizedBody struct {
	io.Reader
	size int64
}
