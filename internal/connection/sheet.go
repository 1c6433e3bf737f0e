package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// loadSheet reads a sheet of the app's ledger into content, which is left as
// it is where there is none yet, or an operator has emptied it.
func (m *Manager) loadSheet(ctx context.Context, name string, content any) (version uint64, err error) {
	text, version, err := m.config.Store.LoadSheet(ctx, m.config.App, name)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil || text == "" {
		return version, err
	}
	if json.Unmarshal([]byte(text), content) != nil {
		return version, fmt.Errorf("%w: sheet %s of the ledger cannot be read", ErrCorrupt, name)
	}
	return version, nil
}

// saveSheet writes a sheet over version based.
func (m *Manager) saveSheet(ctx context.Context, name string, content any, based uint64) error {
	text, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encoding sheet %s: %w", name, err)
	}
	_, err = m.config.Store.SaveSheet(ctx, m.config.App, name, string(text), based)
	return err
}

// changeSheet has change work on a sheet until what it made of it is stored,
// by check-and-set. A change that returns false has nothing to be stored. It
// may be called several times, each time with a content that fresh has made;
// where the answer of a save was lost, what it does has been done before.
func changeSheet[T any](ctx context.Context, m *Manager, name string, fresh func() T, change func(T) (bool, error)) error {
	for {
		content := fresh()
		version, err := m.loadSheet(ctx, name, content)
		if err != nil {
			return err
		}
		changed, err := change(content)
		if err != nil || !changed {
			return err
		}
		err = m.saveSheet(ctx, name, content, version)
		if !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return err
		}
		// Sheets are shared by many: whoever lost gives the others a moment.
		if !sleep(ctx, m.jitter(conflictPause)) {
			return err
		}
	}
}
