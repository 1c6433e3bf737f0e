package vaultstore

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

const (
	// failuresToOpen is how many requests in a row have to fail.
	failuresToOpen = 5
	// probeInterval is the time between probes while open, ±20 %.
	probeInterval = time.Second
)

// breaker keeps requests from waiting for a Vault that does not answer. While
// it is open they fail at once, and one goroutine asks Vault's health until
// it is good.
type breaker struct {
	log   *slog.Logger
	probe func(context.Context) error
	ctx   context.Context
	wg    *sync.WaitGroup

	mu       sync.Mutex
	failures int
	cause    error // not nil while open
}

// allow returns an error while the breaker is open.
func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		return nil
	}
	return fmt.Errorf("%w: waiting for vault to come back: %w", connection.ErrUnavailable, b.cause)
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
}

func (b *breaker) failed(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.failures < failuresToOpen || b.cause != nil || b.ctx.Err() != nil {
		return
	}
	b.cause = cause
	b.log.Warn("vault does not answer; requests to it fail at once until it does", "error", cause)
	b.wg.Go(b.probeUntilGood)
}

func (b *breaker) probeUntilGood() {
	started := time.Now()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(jitter(probeInterval, 0.2)):
		}
		err := b.probe(b.ctx)
		if err == nil {
			break
		}
		b.mu.Lock()
		b.cause = err
		b.mu.Unlock()
	}
	b.mu.Lock()
	b.cause, b.failures = nil, 0
	b.mu.Unlock()
	b.log.Info("vault answers again", "after", time.Since(started).Round(time.Millisecond))
}

// jitter returns d, give or take a share of it.
func jitter(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*rand.Float64()-1)))
}
