package storetest_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection/storetest"
)

// memory is the smallest store that is right. It shows that the suite asks
// for nothing that the contract does not.
type memory struct {
	mu      sync.Mutex
	history map[connection.Key][]map[string]string
	texts   map[string][]string
}

func (m *memory) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	if err := cmp.Or(ctx.Err(), connection.CheckDocument(name, "")); err != nil {
		return "", 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	versions := m.texts[name]
	if len(versions) == 0 {
		return "", 0, connection.ErrNotFound
	}
	return versions[len(versions)-1], uint64(len(versions)), nil
}

func (m *memory) SaveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	if err := cmp.Or(ctx.Err(), connection.CheckDocument(name, text)); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if uint64(len(m.texts[name])) != based {
		return 0, connection.ErrConflict
	}
	m.texts[name] = append(m.texts[name], text)
	return based + 1, nil
}

func (m *memory) LoadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	if err := cmp.Or(ctx.Err(), connection.CheckSheet(name, "")); err != nil {
		return "", 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	versions := m.texts[app+"/"+name]
	if len(versions) == 0 {
		return "", 0, connection.ErrNotFound
	}
	return versions[len(versions)-1], uint64(len(versions)), nil
}

func (m *memory) SaveSheet(ctx context.Context, app, name, text string, based uint64) (uint64, error) {
	if err := cmp.Or(ctx.Err(), connection.CheckSheet(name, text)); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if uint64(len(m.texts[app+"/"+name])) != based {
		return 0, connection.ErrConflict
	}
	m.texts[app+"/"+name] = append(m.texts[app+"/"+name], text)
	return based + 1, nil
}

func (m *memory) Mark(_ context.Context, app, text string) (string, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "ledger %q %q", app, text))
	return hex.EncodeToString(sum[:16]), nil
}

func (m *memory) Load(ctx context.Context, key connection.Key) (connection.Versioned, error) {
	if err := ctx.Err(); err != nil {
		return connection.Versioned{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest(key)
}

func (m *memory) newest(key connection.Key) (connection.Versioned, error) {
	versions := m.history[key]
	if len(versions) == 0 {
		return connection.Versioned{}, connection.ErrNotFound
	}
	r, err := connection.Decode(versions[len(versions)-1])
	return connection.Versioned{Record: r, Version: uint64(len(versions))}, err
}

func (m *memory) Save(ctx context.Context, r connection.Record, based uint64) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if uint64(len(m.history[r.Key])) != based {
		return 0, connection.ErrConflict
	}
	m.history[r.Key] = append(m.history[r.Key], r.Encode())
	return based + 1, nil
}

func (m *memory) Erase(ctx context.Context, key connection.Key, keep uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.history[key] {
		if uint64(i+1) < keep {
			m.history[key][i] = nil
		}
	}
	return nil
}

func (m *memory) List(ctx context.Context, app, cursor string, limit int) (connection.Page, error) {
	if err := ctx.Err(); err != nil {
		return connection.Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(m.history), func(a, b connection.Key) int { return cmp.Compare(a.User, b.User) })
	after, err := strconv.Unquote(cursor)
	if cursor != "" && err != nil {
		return connection.Page{}, connection.ErrBadCursor
	}
	var page connection.Page
	for _, key := range keys {
		if key.App != app || cursor != "" && key.User <= after {
			continue
		}
		if len(page.Records) == limit {
			page.Next = strconv.Quote(page.Records[limit-1].User)
			break
		}
		r, err := m.newest(key)
		if err != nil {
			continue
		}
		page.Records = append(page.Records, r)
	}
	return page, nil
}

func (m *memory) ID(_ context.Context, key connection.Key) (string, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", key.App, key.User))
	return hex.EncodeToString(sum[:16]), nil
}

func (m *memory) holds(_ *testing.T, key connection.Key, text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, fields := range m.history[key] {
		if slices.Contains(slices.Collect(maps.Values(fields)), text) {
			return true
		}
	}
	return false
}

func TestMemory(t *testing.T) {
	fresh := func(*testing.T) storetest.Backing {
		m := &memory{history: make(map[connection.Key][]map[string]string), texts: make(map[string][]string)}
		return storetest.Backing{
			Open:  func(*testing.T) connection.Store { return m },
			Holds: m.holds,
		}
	}
	storetest.Run(t, fresh)
	storetest.RunDocuments(t, fresh)
}
