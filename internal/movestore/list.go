package movestore

import (
	"context"
	"errors"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// Cursors of a listing say in which store they are.
const (
	inNew = "t:"
	inOld = "f:"
)

// List implements [connection.Store]: what is in the new store, and then what
// is in the old one alone.
func (s *Store) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	var page connection.Page
	after, old := strings.CutPrefix(cursor, inOld)
	if !old {
		var ok bool
		if after, ok = strings.CutPrefix(cursor, inNew); !ok && cursor != "" {
			return page, connection.ErrBadCursor
		}
		listed, err := s.to.List(ctx, app, after, limit)
		if err != nil {
			return page, err
		}
		for _, stored := range listed.Records {
			if !isMarker(stored.Record) {
				page.Records = append(page.Records, unmarked(stored))
			}
		}
		if listed.Next != "" {
			page.Next = inNew + listed.Next
			return page, nil
		}
		after = ""
	}
	if len(page.Records) == limit {
		page.Next = inOld
		return page, nil
	}
	return s.listOld(ctx, app, after, limit-len(page.Records), page)
}

// listOld goes on with the old store.
func (s *Store) listOld(ctx context.Context, app, after string, limit int, page connection.Page) (connection.Page, error) {
	listed, err := s.from.List(ctx, app, after, limit)
	if err != nil {
		return connection.Page{}, err
	}
	for _, old := range listed.Records {
		if isMarker(old.Record) {
			continue
		}
		stored, err := s.to.Load(ctx, old.Key)
		switch {
		case err == nil && !isMarker(stored.Record):
			// Listed before.
		case err == nil:
			page.Records = append(page.Records, toMove(old, stored.Version))
		case errors.Is(err, connection.ErrNotFound):
			page.Records = append(page.Records, toMove(old, 0))
		case errors.Is(err, connection.ErrCorrupt):
		default:
			return connection.Page{}, err
		}
	}
	page.Next = ""
	if listed.Next != "" {
		page.Next = inOld + listed.Next
	}
	return page, nil
}
