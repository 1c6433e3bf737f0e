package vaultstore

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// complaint writes to the log what only somebody at Vault can mend, before
// any caller says what it cannot do without it, and each of it once until
// all is well. Logins and outages have lines of their own. It is safe for
// concurrent use.
type complaint struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]bool
}

func (c *complaint) say(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said[err.Error()] {
		return
	}
	if c.said == nil {
		c.said = make(map[string]bool)
	}
	c.said[err.Error()] = true
	c.log.Warn("vault cannot be used as it is set up", "error", err)
}

// about passes on the outcome of asking for rights.
func (c *complaint) about(err error) error {
	if errors.Is(err, connection.ErrDenied) {
		c.say(err)
	}
	return err
}

// allWell makes the next complaint news.
func (c *complaint) allWell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.said)
}
