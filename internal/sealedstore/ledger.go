package sealedstore

import (
	"context"
	"fmt"
	"path"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// ledgerFolder is below an app's connections, and none of their shards.
const (
	ledgerFolder = "ledger"
	ledgerLock   = "hubspot_ledger_"
)

// LoadSheet implements [connection.Ledger]. Sheets are sealed as records are.
func (s *Store) LoadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	text, version, err := s.loadSheet(ctx, app, name)
	if err != nil {
		return "", 0, fmt.Errorf("loading sheet: %w", err)
	}
	return text, version, nil
}

func (s *Store) loadSheet(ctx context.Context, app, name string) (string, uint64, error) {
	file, err := sheetFile(app, name, "")
	if err != nil {
		return "", 0, err
	}
	if err := s.checkKey(ctx); err != nil {
		return "", 0, err
	}
	doc, err := s.open(ctx, file)
	return doc.Fields[documentField], doc.Version, err
}

// SaveSheet implements [connection.Ledger]. As with records, a save over what
// cannot be read is a conflict.
func (s *Store) SaveSheet(ctx context.Context, app, name, text string, based uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := s.saveSheet(ctx, app, name, text, based); err != nil {
		return 0, fmt.Errorf("saving sheet: %w", err)
	}
	return based + 1, nil
}

func (s *Store) saveSheet(ctx context.Context, app, name, text string, based uint64) error {
	file, err := sheetFile(app, name, text)
	if err != nil {
		return err
	}
	sealer, err := s.sealer.get()
	if err != nil {
		return err
	}
	box, err := sealer.seal(file, map[string]string{documentField: text}, based+1)
	if err != nil {
		return fmt.Errorf("sealing sheet: %w", err)
	}
	return s.replace(ctx, ledgerLock+app+"_"+name, file, box, func() error {
		_, stored, err := s.loadSheet(ctx, app, name)
		return basedOn(based, stored, err)
	})
}

// Mark implements [connection.Ledger]. It does not touch the storage.
func (s *Store) Mark(_ context.Context, app, text string) (string, error) {
	sealer, err := s.sealer.get()
	if err != nil {
		return "", err
	}
	return sealer.mark(app, text), nil
}

// sheetFile checks a sheet and returns where it lies.
func sheetFile(app, name, text string) (string, error) {
	if err := connection.CheckSheet(name, text); err != nil {
		return "", err
	}
	dir, err := appDir(app)
	if err != nil {
		return "", err
	}
	return path.Join(dir, ledgerFolder, name), nil
}
