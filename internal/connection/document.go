package connection

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// ErrDenied means that the store works, and that its own policy does not let
// this process do what was asked. Trying again does not help; somebody has to
// change the policy. An error that wraps it does not wrap ErrUnavailable.
var ErrDenied = errors.New("connection store does not permit it")

// DocumentStore is what a [Store] may be beside: the keeper of a few small
// documents by which all sidecars of the store are controlled, such as the
// list of freezes. It is as dumb as a Store, and as safe for concurrent use,
// by several processes too. Its calls return within the store's own timeout,
// or earlier when ctx ends. [CheckDocument] says what names and texts it takes.
type DocumentStore interface {
	// LoadDocument returns the newest text of a document and its version.
	// It is asked every few seconds. Errors wrap ErrNotFound, ErrCorrupt,
	// ErrDenied or ErrUnavailable.
	LoadDocument(ctx context.Context, name string) (text string, version uint64, err error)

	// SaveDocument writes text as the version after based if the stored
	// version still is based, and returns the new version. A based of 0
	// means that there must be no such document yet. Errors wrap
	// ErrConflict, ErrDenied or ErrUnavailable.
	SaveDocument(ctx context.Context, name, text string, based uint64) (version uint64, err error)
}

// MaxDocument is the longest text of a document in bytes. It keeps away from
// the limits of backing stores, of which Vault's is 1 MiB for a record.
const MaxDocument = 256 << 10

// documentName is a name that reads the same in a path of any store.
var documentName = regexp.MustCompile(`^[a-z]{1,32}$`)

// CheckDocument refuses names that are not 1 to 32 of a-z, and texts that are
// not UTF-8 or longer than [MaxDocument]. Names are constants of the program:
// nothing that a caller wrote is one.
func CheckDocument(name, text string) error {
	switch {
	case !documentName.MatchString(name):
		return errors.New("a document's name must be 1 to 32 of a-z")
	case len(text) > MaxDocument:
		return fmt.Errorf("the document is larger than %d KiB", MaxDocument>>10)
	case !utf8.ValidString(text):
		return errors.New("the document is not valid UTF-8")
	}
	return nil
}
