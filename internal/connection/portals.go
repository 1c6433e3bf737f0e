package connection

import (
	"context"
	"fmt"
)

// portalPage is how many records are asked for at a time.
const portalPage = 200

// EachOfPortals calls do for every stored connection of the app that stands for
// one of the portals, tombstones left out. It reads all of the app's records
// once, since no store keeps them by portal; how they stand may have changed
// when do is called. It ends with the first error, of do's own or of the store.
func (m *Manager) EachOfPortals(ctx context.Context, isWanted func(hubID int64) bool, do func(Record) error) error {
	for cursor := ""; ; {
		page, err := m.config.Store.List(ctx, m.config.App, cursor, portalPage)
		if err != nil {
			return fmt.Errorf("listing connections: %w", err)
		}
		for _, stored := range page.Records {
			if stored.Status == StatusDisconnected || !isWanted(stored.HubID) {
				continue
			}
			if err := do(stored.Record); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}
