package sealedstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

var idPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// List implements [connection.Store]. It walks the 256 shards of app in
// order, and the identifiers within each; the cursor is the identifier of the
// last record given. A cursor that no listing gave is an error.
func (s *Store) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	page, err := s.list(ctx, app, cursor, limit)
	if err != nil {
		return connection.Page{}, fmt.Errorf("listing connections: %w", err)
	}
	return page, nil
}

func (s *Store) list(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	if limit < 1 {
		return connection.Page{}, fmt.Errorf("limit must be at least 1, not %d", limit)
	}
	if cursor != "" && !idPattern.MatchString(cursor) {
		return connection.Page{}, connection.ErrBadCursor
	}
	dir, err := appDir(app)
	if err != nil {
		return connection.Page{}, err
	}
	if err := s.checkKey(ctx); err != nil {
		return connection.Page{}, err
	}
	var page connection.Page
	last := "" // the identifier of the page's last record
	for id, err := range s.ids(ctx, dir, cursor) {
		if err != nil {
			return connection.Page{}, err
		}
		record, err := s.read(ctx, path.Join(dir, id[:shardChars], id))
		if errors.Is(err, connection.ErrCorrupt) || errors.Is(err, connection.ErrNotFound) {
			continue // not readable, or gone since the shard was listed
		}
		if err != nil {
			return connection.Page{}, err
		}
		// One record too many shows that the listing goes on.
		if len(page.Records) == limit {
			page.Next = last
			return page, nil
		}
		page.Records = append(page.Records, record)
		last = id
	}
	return page, nil
}

// ids yields the identifiers in dir after the given one, in order. It ends
// with the first error.
func (s *Store) ids(ctx context.Context, dir, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for n := range 256 {
			shard := fmt.Sprintf("%02x", n)
			if after != "" && shard < after[:shardChars] {
				continue
			}
			ids, err := s.shard(ctx, path.Join(dir, shard))
			if err != nil {
				yield("", err)
				return
			}
			for _, id := range ids {
				if id > after && !yield(id, nil) {
					return
				}
			}
		}
	}
}

// shard returns the identifiers in a shard in order. What a storage lists
// beyond them, such as directories or names that merely begin alike, is left
// out.
func (s *Store) shard(ctx context.Context, dir string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, unavailable(err)
	}
	names, err := s.storage.List(ctx, dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(err)
	}
	var ids []string
	for _, name := range names {
		id := path.Base(name)
		if idPattern.MatchString(id) && id[:shardChars] == path.Base(dir) && strings.HasSuffix("/"+name, "/"+path.Join(dir, id)) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
