package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// parallelReads is how many records a listing reads at a time.
const parallelReads = 8

// List implements [connection.Store]. The order is that of the ids, which
// says nothing about users; the cursor is the id that came last. Every
// request has the store's timeout, the listing as a whole has only ctx.
// Records that an operator deleted in Vault are left out.
func (s *Store) List(ctx context.Context, app, cursor string, limit int) (_ connection.Page, err error) {
	defer saying("listing connections", &err)
	switch {
	case limit < 1:
		return connection.Page{}, fmt.Errorf("the limit is %d; want 1 or more", limit)
	case cursor != "" && !isID.MatchString(cursor):
		return connection.Page{}, connection.ErrBadCursor
	}
	// It also checks the mount, whose "not found" would read as "empty".
	idKey, err := s.idKey(ctx, app)
	if err != nil {
		return connection.Page{}, err
	}
	w, err := s.walk(ctx, app, cursor)
	if err != nil {
		return connection.Page{}, err
	}
	var page connection.Page
	// One more than asked for, to know whether the listing goes on.
	for len(page.Records) <= limit {
		more, err := w.fill(ctx)
		if err != nil {
			return connection.Page{}, err
		}
		if !more {
			return page, nil
		}
		records, err := s.readAll(ctx, app, w.take(limit+1-len(page.Records)), idKey)
		if err != nil {
			return connection.Page{}, err
		}
		page.Records = append(page.Records, records...)
	}
	page.Records = page.Records[:limit]
	page.Next = makeID(idKey, page.Records[limit-1].Key)
	return page, nil
}

// readAll reads records by their ids and leaves out those that are deleted
// or cannot be read.
func (s *Store) readAll(ctx context.Context, app string, ids []string, idKey []byte) ([]connection.Versioned, error) {
	records := make([]connection.Versioned, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for i, id := range ids {
		group.Go(func() error {
			ctx, cancel := s.bounded(ctx)
			defer cancel()
			got, err := s.read(ctx, app, id)
			if errors.Is(err, connection.ErrCorrupt) || errors.Is(err, connection.ErrNotFound) {
				return nil
			}
			if err == nil && got.App == app && makeID(idKey, got.Key) == id {
				records[i] = got
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(records, func(r connection.Versioned) bool { return r.Version == 0 }), nil
}

// walker goes through an app's ids, shard by shard, from after a cursor.
type walker struct {
	store  *Store
	app    string
	after  string
	shards []string
	ids    []string
}

func (s *Store) walk(ctx context.Context, app, after string) (*walker, error) {
	path, err := s.paths.shards(app)
	if err != nil {
		return nil, err
	}
	names, err := s.names(ctx, path, s.paths.metadataRule(app))
	if err != nil {
		return nil, err
	}
	w := &walker{store: s, app: app, after: after}
	for _, name := range names {
		if isShard.MatchString(name) && (after == "" || name[:2] >= after[:2]) {
			w.shards = append(w.shards, name[:2])
		}
	}
	return w, nil
}

// fill makes sure that there is an id to take, and reports false at the end.
func (w *walker) fill(ctx context.Context) (bool, error) {
	for len(w.ids) == 0 && len(w.shards) > 0 {
		path, err := w.store.paths.shard(w.app, w.shards[0])
		if err != nil {
			return false, err
		}
		names, err := w.store.names(ctx, path, w.store.paths.metadataRule(w.app))
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if isID.MatchString(name) && name > w.after {
				w.ids = append(w.ids, name)
			}
		}
		w.shards = w.shards[1:]
	}
	return len(w.ids) > 0, nil
}

// take returns up to n ids that fill has found.
func (w *walker) take(n int) []string {
	n = min(n, len(w.ids))
	taken := w.ids[:n]
	w.ids = w.ids[n:]
	return taken
}

// names lists a folder, sorted. One that does not exist is empty.
func (s *Store) names(ctx context.Context, path string, under rule) ([]string, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	got, err := call(ctx, s, under, func(v *api.Client) (*api.Secret, error) {
		return v.Logical().ListWithContext(ctx, s.config.Mount+"/metadata/"+path)
	})
	if err != nil || got == nil {
		return nil, err
	}
	keys, _ := got.Data["keys"].([]any)
	var names []string
	for _, key := range keys {
		if name, ok := key.(string); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
