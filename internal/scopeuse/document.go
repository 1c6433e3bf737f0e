package scopeuse

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// documentName is the document's name in the store.
const documentName = "scopes"

// documentFormat is the format that this version writes, and the newest that it
// reads.
const documentFormat = 1

// errNewer means that a sidecar of a later version keeps the document. It is not
// to be written by this one, which would drop what it does not understand.
var errNewer = errors.New("a newer version of the sidecar keeps it")

// errFull means that the document has no room for all apps.
var errFull = fmt.Errorf("it is larger than %d KiB", connection.MaxDocument>>10)

// keepUnseen is how long an app is kept that no sidecar has any more.
const keepUnseen day = 90

// document is what is known of all apps of a store.
type document struct {
	Format int                  `json:"format"`
	Apps   map[string]knowledge `json:"apps"`
}

// decode reads a document; an empty text has none. Its errors are errNewer, or
// wrap [connection.ErrCorrupt] and hold nothing of the text.
func decode(text string, now time.Time) (document, error) {
	d := document{Format: documentFormat, Apps: make(map[string]knowledge)}
	if text == "" {
		return d, nil
	}
	var stored document
	if json.Unmarshal([]byte(text), &stored) != nil || stored.Format < 1 {
		return d, connection.ErrCorrupt
	}
	if stored.Format > documentFormat {
		return d, errNewer
	}
	for app, known := range stored.Apps {
		known.tidy(now)
		d.Apps[app] = known
	}
	return d, nil
}

// encode writes the document in one way only, so that texts can be compared. If
// there is not room for all it keeps less of each app's refusals, the newest.
func (d *document) encode(now time.Time) (string, error) {
	today := dayOf(now)
	maps.DeleteFunc(d.Apps, func(_ string, known knowledge) bool {
		return known.isEmpty() || known.Seen < today-keepUnseen
	})
	for share := 1; share <= maxRefused; share *= 2 {
		for app, known := range d.Apps {
			known.bound(share)
			d.Apps[app] = known
		}
		text, err := json.Marshal(d)
		if err != nil {
			return "", fmt.Errorf("encoding what is known of scopes: %w", err)
		}
		if len(text) <= connection.MaxDocument {
			return string(text), nil
		}
	}
	return "", errFull
}
