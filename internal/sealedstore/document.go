package sealedstore

import (
	"context"
	"fmt"
	"path"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

var _ connection.DocumentStore = (*Store)(nil)

// documentField is the field that holds a document's text.
const documentField = "text"

// LoadDocument implements [connection.DocumentStore]. Documents are sealed as
// records are, below a folder of their own.
func (s *Store) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	text, version, err := s.loadDocument(ctx, name)
	if err != nil {
		return "", 0, fmt.Errorf("loading document: %w", err)
	}
	return text, version, nil
}

func (s *Store) loadDocument(ctx context.Context, name string) (string, uint64, error) {
	if err := connection.CheckDocument(name, ""); err != nil {
		return "", 0, err
	}
	if err := s.checkKey(ctx); err != nil {
		return "", 0, err
	}
	doc, err := s.open(ctx, path.Join(documentsPrefix, name))
	return doc.Fields[documentField], doc.Version, err
}

// SaveDocument implements [connection.DocumentStore]. As with records, a save
// over what cannot be read is a conflict.
func (s *Store) SaveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := s.saveDocument(ctx, name, text, based); err != nil {
		return 0, fmt.Errorf("saving document: %w", err)
	}
	return based + 1, nil
}

func (s *Store) saveDocument(ctx context.Context, name, text string, based uint64) error {
	if err := connection.CheckDocument(name, text); err != nil {
		return err
	}
	sealer, err := s.sealer.get()
	if err != nil {
		return err
	}
	file := path.Join(documentsPrefix, name)
	box, err := sealer.seal(file, map[string]string{documentField: text}, based+1)
	if err != nil {
		return fmt.Errorf("sealing document: %w", err)
	}
	return s.replace(ctx, documentLock+name, file, box, func() error {
		_, stored, err := s.loadDocument(ctx, name)
		return basedOn(based, stored, err)
	})
}
