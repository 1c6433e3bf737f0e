package journal

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// documentFormat is the format that this version writes, and the newest that it
// reads.
const documentFormat = 1

const (
	// keepDone is how many uninstalls stay in the document after they were
	// done, for the other sidecars to see.
	keepDone = 200
	// maxPending is how many that were not done a document takes.
	maxPending = 500
)

// document is what all sidecars of a store know of an app's journal. Its times
// are HubSpot's: none of them is compared with a clock of this machine.
type document struct {
	Format int    `json:"format"`
	App    string `json:"app"`
	// Offset is that of the last file that was read; empty is the beginning of
	// the journal.
	Offset string `json:"offset,omitempty"`
	// AsOf is when the journal was last read to its end.
	AsOf time.Time `json:"asOf,omitzero"`
	// Claim is random and names the one that reads, and Owner its machine, for
	// operators. Empty is nobody.
	Claim string `json:"claim,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Problem is why the journal cannot be read; empty if it can.
	Problem string `json:"problem,omitempty"`
	// Gap is the last time that events may have been lost.
	Gap *Gap `json:"gap,omitempty"`
	// Seq numbers uninstalls.
	Seq        uint64      `json:"seq"`
	Uninstalls []uninstall `json:"uninstalls,omitempty"`
	// WriteID is random and new with every write, so that a writer whose
	// answer was lost recognises its own.
	WriteID string `json:"writeId"`
}

// Gap is a stretch of the journal that was not read.
type Gap struct {
	// Reason is [GapOffset], [GapAge] or [GapFile].
	Reason string `json:"reason"`
	// Since is up to when the journal was read before, zero if that is not
	// known, and NoticedAt when the gap was found. Both are HubSpot's times.
	Since     time.Time `json:"since,omitzero"`
	NoticedAt time.Time `json:"noticedAt"`
}

// Reasons of a [Gap].
const (
	// GapOffset: HubSpot does not know the stored offset any more.
	GapOffset = "offset_unknown"
	// GapAge: the journal was not read for longer than HubSpot keeps it.
	GapAge = "not_read_in_time"
	// GapFile: a file could not be read, however often it was fetched.
	GapFile = "file_unreadable"
)

// uninstall is a portal that has removed the app.
type uninstall struct {
	Seq uint64 `json:"seq"`
	// HubID is 0 for an entry that stands for many, which were done when it
	// was written: whoever has connections in memory reads them anew.
	HubID int64     `json:"hubId"`
	At    time.Time `json:"at"`
	// Done is set when every stored connection of the portal was marked.
	Done bool `json:"done,omitempty"`
}

// nameOf is the name of an app's document. Names of documents are letters, and
// apps have others.
func nameOf(app string) string {
	sum := sha256.Sum256([]byte(app))
	name := []byte("journal")
	for _, b := range sum[:12] {
		name = append(name, 'a'+b>>4, 'a'+b&15)
	}
	return string(name)
}

func (d document) encode() (string, error) {
	d.Format = documentFormat
	text, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encoding the journal's document: %w", err)
	}
	return string(text), nil
}

// decode reads a document. An empty text is one that was never written. Errors
// wrap [connection.ErrCorrupt].
func decode(text string) (document, error) {
	if text == "" {
		return document{}, nil
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return document{}, fmt.Errorf("%w: it is not JSON", errDocument)
	}
	if d.Format != documentFormat {
		return document{}, fmt.Errorf("%w: its format is %d and this version reads %d", errDocument, d.Format, documentFormat)
	}
	return d, nil
}

var errDocument = fmt.Errorf("the stored document of the journal cannot be read: %w", connection.ErrCorrupt)

// add notes an uninstall that is to be done.
func (d *document) add(hubID int64, at time.Time, done bool) {
	d.Seq++
	d.Uninstalls = append(slices.Clip(d.Uninstalls), uninstall{Seq: d.Seq, HubID: hubID, At: at, Done: done})
}

// pending are the portals that are to be done, with the time of the last
// uninstall of each.
func (d *document) pending() map[int64]time.Time {
	pending := make(map[int64]time.Time)
	for _, u := range d.Uninstalls {
		if !u.Done && u.At.After(pending[u.HubID]) {
			pending[u.HubID] = u.At
		}
	}
	return pending
}

// finish marks everything as done, and drops what has been there for long.
func (d *document) finish() {
	kept := slices.Clone(d.Uninstalls[max(len(d.Uninstalls)-keepDone, 0):])
	for i := range kept {
		kept[i].Done = true
	}
	d.Uninstalls = kept
}
