package sidecar

import (
	"fmt"

	"github.com/caddy-hubspot/caddy-hubspot/internal/exporting"
)

// readExport reads the public keys of export_to.
func (g *Generation) readExport() error {
	e := g.files.expander()
	written := e.List("export_to", g.car.ExportTo)
	if err := e.Err(); err != nil {
		return err
	}
	for i, text := range written {
		recipient, err := exporting.ParseRecipient(text)
		if err != nil {
			return fmt.Errorf("export_to: key %d: %w", i+1, err)
		}
		g.exportTo = append(g.exportTo, recipient)
	}
	return nil
}

// ExportKeys returns the public keys to which connections may be exported; none
// if they may not.
func (s *Sidecar) ExportKeys() []exporting.Recipient { return s.live.current.Load().exportTo }
