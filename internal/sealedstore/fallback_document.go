package sealedstore

import (
	"path/filepath"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// documentsFolder is where a [Fallback] has its copies of documents. No app
// has such a name.
const documentsFolder = "_control"

// KeepDocument replaces the copy of a document, see [connection.DocumentStore].
func (f *Fallback) KeepDocument(name, text string, version uint64) error {
	if err := connection.CheckDocument(name, text); err != nil {
		return err
	}
	return f.keep(f.documentPath(name), map[string]string{documentField: text}, version)
}

// RecallDocument returns the copy of a document, or [connection.ErrNotFound].
// Unlike that of a connection it does not age: what an operator has ordered
// holds until something newer is known.
func (f *Fallback) RecallDocument(name string) (text string, version uint64, err error) {
	if err := connection.CheckDocument(name, ""); err != nil {
		return "", 0, err
	}
	doc, _, err := f.recall(f.documentPath(name))
	return doc.Fields[documentField], doc.Version, err
}

// ForgetDocument removes the copy of a document, if there is one.
func (f *Fallback) ForgetDocument(name string) error {
	if err := connection.CheckDocument(name, ""); err != nil {
		return err
	}
	return forget(f.documentPath(name))
}

func (f *Fallback) documentPath(name string) string {
	return filepath.Join(f.dir, documentsFolder, name)
}
