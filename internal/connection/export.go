package connection

import (
	"context"
	"fmt"
)

// exportPage is how many records are read at once.
const exportPage = 200

// EachActive gives every live connection of the app, tokens included, as the
// store has it, to each. It is for an export: its record must go nowhere but
// into what is sealed. It ends with the error of each, or one that wraps
// ErrUnavailable or ErrDenied.
func (m *Manager) EachActive(ctx context.Context, each func(Record) error) error {
	for cursor := ""; ; {
		page, err := m.config.Store.List(ctx, m.config.App, cursor, exportPage)
		if err != nil {
			return fmt.Errorf("listing connections: %w", err)
		}
		for _, stored := range page.Records {
			if stored.Status != StatusActive {
				continue
			}
			if err := each(stored.Record); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}
