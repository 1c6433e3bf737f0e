package webhookdelivery_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/filequeue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookdelivery"
)

type noObserver struct{}

func (noObserver) Received(string, string)                                      {}
func (noObserver) Queued(string, int, int)                                      {}
func (noObserver) Attempted(string, webhookdelivery.Result, time.Duration, int) {}
func (noObserver) UnknownPortal(string)                                         {}
func noUsers(context.Context, string, int64) ([]string, error)                  { return nil, nil }

// BenchmarkIntake takes in what HubSpot sends, ten requests at a time as HubSpot
// does, over HTTP and onto the disk, while the app behind is down. It reports the
// events in a second, and how long the slowest of a hundred answers took.
func BenchmarkIntake(b *testing.B) {
	for _, events := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(events, "-events"), func(b *testing.B) { benchmarkIntake(b, events) })
	}
}

func benchmarkIntake(b *testing.B, events int) {
	queue, err := filequeue.Open(filequeue.Options{Path: b.TempDir(), MaxBytes: 8 << 30})
	if err != nil {
		b.Fatal(err)
	}
	silent, key := slog.New(slog.DiscardHandler), secret.New("the-secret-of-the-app")
	engine := webhookdelivery.Start(webhookdelivery.Config{
		Queue: queue, Transport: new(http.Transport), Users: noUsers, Observer: noObserver{}, Logger: silent,
		Settings: func() webhookdelivery.Settings {
			return webhookdelivery.Settings{URL: "http://127.0.0.1:1/", Timeout: time.Second, Attempts: 1000}
		},
	})
	intake := &webhook.Intake{
		Queue: queue, Splitter: webhook.Splitter{App: "hbdev", Split: webhook.ByPortal, Order: webhook.ByPortal}, Observer: noObserver{}, Logger: silent,
		Verifier: &webhook.Verifier{
			App: "hbdev", Versions: []hubspot.SignatureVersion{hubspot.SignatureV3}, Replays: webhook.NewReplays(),
			URL:         func(*http.Request) string { return "https://app.example.com/" },
			Credentials: func(context.Context) (hubspot.Credentials, error) { return hubspot.Credentials{Secret: key}, nil },
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = intake.Serve(w, r, nil) }))
	var mu sync.Mutex
	var took []time.Duration
	var requests sync.WaitGroup
	work := make(chan int)
	for range 10 {
		requests.Go(func() {
			client := &http.Client{Transport: new(http.Transport)}
			for n := range work {
				request := signedEvents(b, server.URL, n, events, key)
				began := time.Now()
				response, err := client.Do(request)
				if err != nil || response.StatusCode != http.StatusNoContent {
					b.Errorf("%v, %v", response, err)
					continue
				}
				_ = response.Body.Close()
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	b.ResetTimer()
	for n := range b.N {
		work <- n
	}
	close(work)
	requests.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	server.Close()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	engine.Close(ended)
	if err := queue.Close(); err != nil {
		b.Fatal(err)
	}
}

// signedEvents is a request with events of one of a hundred portals.
func signedEvents(b *testing.B, url string, n, events int, key secret.Text) *http.Request {
	var body bytes.Buffer
	body.WriteByte('[')
	for i := range events {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"eventId":%d,"subscriptionId":12345,"portalId":%d,"occurredAt":%d,"subscriptionType":"contact.propertyChange",`+
			`"attemptNumber":0,"objectId":%d,"propertyName":"firstname","propertyValue":"Ada","changeSource":"CRM","appId":54321}`,
			n*events+i, n%100, time.Now().UnixMilli(), i)
	}
	body.WriteByte(']')
	request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body.Bytes()))
	if err != nil {
		b.Fatal(err)
	}
	hubspot.SignHeader(request.Header, hubspot.Signed{
		Method: http.MethodPost, URL: "https://app.example.com/", Body: body.Bytes(), Timestamp: strconv.FormatInt(time.Now().UnixMilli(), 10),
	}, key)
	return request
}
