package sidecar

import "github.com/caddy-hubspot/caddy-hubspot/internal/connection"

// StoreOf is the connection store of a config.
func StoreOf(s *Sidecar) connection.Store { return s.store.store }
