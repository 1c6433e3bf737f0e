package sidecar

import "github.com/caddy-hubspot/caddy-hubspot/internal/connection"

// StoreOf is the connection store of a config.
func StoreOf(s *Sidecar) connection.Store { return s.live.current.Load().store.store }

// Look looks at once at the files that settings were read from.
func (s *Sidecar) Look() { s.look() }
