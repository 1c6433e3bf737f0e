package sealedstore

import (
	"context"
	"sync"
)

// gates are locks by name within the process, so that only one of its writers
// of a record waits for the storage's lock, which may mean polling a file once
// a second. The zero value is ready; gates keep nothing for names not in use.
type gates struct {
	mu    sync.Mutex // guards what follows, for no longer than a map access
	names map[string]*gate
}

type gate struct {
	held  chan struct{} // full while somebody is inside
	users int           // those inside or waiting
}

// enter waits until name is free or ctx ends. The caller must call leave once
// if the error is nil.
func (g *gates) enter(ctx context.Context, name string) (leave func(), err error) {
	gate := g.use(name)
	select {
	case gate.held <- struct{}{}:
		return func() {
			<-gate.held
			g.drop(name, gate)
		}, nil
	case <-ctx.Done():
		g.drop(name, gate)
		return nil, ctx.Err()
	}
}

func (g *gates) use(name string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names == nil {
		g.names = make(map[string]*gate)
	}
	if g.names[name] == nil {
		g.names[name] = &gate{held: make(chan struct{}, 1)}
	}
	g.names[name].users++
	return g.names[name]
}

func (g *gates) drop(name string, gate *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gate.users--; gate.users == 0 {
		delete(g.names, name)
	}
}
