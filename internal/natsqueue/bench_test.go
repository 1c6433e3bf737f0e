package natsqueue_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// BenchmarkPut takes in webhooks of ten events each, from 32 connections.
func BenchmarkPut(b *testing.B) {
	config := settings(b, shared.Server(b))
	config.Lease = 0
	q := open(b, config)
	defer q.Close()
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			m := message(i%100, "", fmt.Sprint(time.Now().UnixNano(), i))
			for j := range 9 {
				m.Events = append(m.Events, message(1, "", fmt.Sprint(m.ID, j)).Events[0])
			}
			if _, err := q.Put(b.Context(), []webhookqueue.Message{m}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(10*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkDeliver receives and settles, with 16 receivers.
func BenchmarkDeliver(b *testing.B) {
	config := settings(b, shared.Server(b))
	config.Lease = 0
	q := open(b, config)
	defer q.Close()
	for n := 0; n < b.N; {
		var messages []webhookqueue.Message
		for ; n < b.N && len(messages) < 400; n++ {
			messages = append(messages, message(int64(n%100), "", fmt.Sprint("deliver", n)))
		}
		if _, err := q.Put(b.Context(), messages); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d, err := q.Receive(b.Context())
			if err == nil {
				err = d.Done(b.Context())
			}
			if err != nil {
				b.Error(err)
			}
			n.Add(1)
		}
	})
}
