package freeze

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// documentName is the list's name in the store.
const documentName = "freezes"

// documentFormat is the format that this version writes, and the newest that
// it reads: a list of which it understood only a part could lift something.
const documentFormat = 1

// document is the list as it is stored.
type document struct {
	Format  int      `json:"format"`
	Freezes []Freeze `json:"freezes"`
}

func encode(all []Freeze) (string, error) {
	text, err := json.Marshal(document{Format: documentFormat, Freezes: all})
	if err != nil {
		return "", fmt.Errorf("encoding the freezes: %w", err)
	}
	return string(text), nil
}

// decode reads a document. An empty one has no freezes. Its errors wrap
// [connection.ErrCorrupt] and hold nothing of the text.
func decode(text string) ([]Freeze, error) {
	if text == "" {
		return nil, nil
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, damaged(errors.New("it is not a list of freezes"))
	}
	if d.Format != documentFormat {
		return nil, damaged(fmt.Errorf("its format is %d and this version reads %d", d.Format, documentFormat))
	}
	for _, f := range d.Freezes {
		if err := f.check(); err != nil {
			return nil, damaged(err)
		}
	}
	return d.Freezes, nil
}

func damaged(err error) error {
	return fmt.Errorf("the stored list of freezes cannot be read: %w: %w", connection.ErrCorrupt, err)
}

// without returns those of all that are not among others.
func without(all, others []Freeze) []Freeze {
	return slices.DeleteFunc(slices.Clone(all), func(f Freeze) bool { return has(others, f.Selector) })
}

func has(all []Freeze, s Selector) bool {
	return slices.ContainsFunc(all, func(f Freeze) bool { return f.Is(s) })
}
