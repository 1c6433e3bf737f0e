package connection

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// Ledger is the part of a [Store] that keeps a few texts per app beside its
// connections: who holds which grant, and which disconnects are under way. It
// is as dumb as the rest, and as safe for concurrent use, by several processes
// too. [CheckSheet] says what names and texts it takes.
type Ledger interface {
	// LoadSheet returns the newest text of a sheet of the app and its version.
	// Errors wrap ErrNotFound, ErrCorrupt, ErrDenied or ErrUnavailable.
	LoadSheet(ctx context.Context, app, name string) (text string, version uint64, err error)

	// SaveSheet writes text as the version after based if the stored version
	// still is based, and returns the new version. A based of 0 means that
	// there must be no such sheet yet. Errors wrap ErrConflict, ErrDenied or
	// ErrUnavailable.
	SaveSheet(ctx context.Context, app, name, text string, based uint64) (version uint64, err error)

	// Mark returns a keyed hash of text, in 32 digits of lowercase hex: the
	// same in every process that shares the store, and of no use to anybody
	// without the store's key. It never is the ID of a connection. It may
	// have to read the store once.
	Mark(ctx context.Context, app, text string) (string, error)
}

// MaxSheet is the longest text of a sheet in bytes.
const MaxSheet = MaxDocument

// sheetName is a name that reads the same in a path of any store.
var sheetName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// CheckSheet refuses names that are not 1 to 32 of a-z and 0-9, and texts that
// are not UTF-8 or longer than [MaxSheet]. Nothing that a caller wrote is a
// name.
func CheckSheet(name, text string) error {
	switch {
	case !sheetName.MatchString(name):
		return errors.New("a sheet's name must be 1 to 32 of a-z and 0-9")
	case len(text) > MaxSheet:
		return fmt.Errorf("the sheet is larger than %d KiB", MaxSheet>>10)
	case !utf8.ValidString(text):
		return errors.New("the sheet is not valid UTF-8")
	}
	return nil
}
