package connection_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// BenchmarkToken is finding the token of a known user, by many at once.
func BenchmarkToken(b *testing.B) {
	m := connection.NewManager(connection.Config{App: app, Store: newMemStore(), Provider: newProvider("r1")})
	defer func() { _ = m.Close(context.Background()) }()
	users := make([]string, 1000)
	for i := range users {
		users[i] = fmt.Sprint("user", i)
		if _, err := m.Connect(b.Context(), install(users[i], "r1", 1)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := m.Token(b.Context(), users[i%len(users)]); err != nil {
				b.Error(err)
			}
		}
	})
}
