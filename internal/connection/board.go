package connection

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"time"
)

// boardName is the sheet by which the sidecars of an app tell each other which
// disconnects are under way and which connections have changed.
const boardName = "board"

const (
	// maxChanges is how many changes the board remembers; who has missed more
	// than that reads everything again.
	maxChanges = 1024
	// maxBoard keeps the board below the size of a sheet.
	maxBoard = MaxSheet * 3 / 4
)

// board is the content of the sheet. Disconnects stand on it before they change
// anything and until they are finished, so that another process finds them when
// the one that began them has ended.
type board struct {
	// Disconnects are those under way.
	Disconnects []notice `json:"disconnects,omitempty"`
	// Overflow is not 0 if there were too many of them: all records have to be
	// looked through. It is the number of the change by which it was set.
	Overflow uint64 `json:"overflow,omitempty"`
	// Last is the number of the last change, and Changes has the latest.
	Last    uint64   `json:"last"`
	Changes []change `json:"changes,omitempty"`
}

// notice is a disconnect on the board.
type notice struct {
	ID   string `json:"id"`
	User string `json:"user"`
}

// change is a connection that others may know as it was before.
type change struct {
	Number uint64 `json:"n"`
	User   string `json:"user"`
}

func newBoard() *board { return new(board) }

// tell adds a change.
func (b *board) tell(user string) {
	b.Last++
	b.Changes = append(b.Changes, change{Number: b.Last, User: user})
	b.Changes = b.Changes[max(len(b.Changes)-maxChanges, 0):]
}

// fit shortens what does not fit into a sheet: changes first, of which the gap
// shows; then the notices, in place of which all records are looked through.
func (b *board) fit() {
	for b.size() > maxBoard {
		if len(b.Changes) > 0 {
			b.Changes = b.Changes[(len(b.Changes)+1)/2:]
			continue
		}
		b.Last++
		b.Overflow = b.Last
		b.Disconnects = b.Disconnects[:len(b.Disconnects)/2]
	}
}

func (b *board) size() int {
	text, _ := json.Marshal(b) // it is encoded again, with its error, to be saved
	return len(text)
}

// changeBoard changes the board by check-and-set.
func (m *Manager) changeBoard(ctx context.Context, change func(*board)) error {
	return changeSheet(ctx, m, boardName, newBoard, func(b *board) (bool, error) {
		change(b)
		b.fit()
		return true, nil
	})
}

// announce puts a disconnect on the board and returns what takes it off again.
func (m *Manager) announce(ctx context.Context, user string) (notice, error) {
	n := notice{ID: rand.Text(), User: user}
	return n, m.changeBoard(ctx, func(b *board) { b.Disconnects = append(b.Disconnects, n) })
}

// withdraw takes a disconnect off the board that is finished, and tells all
// sidecars to read the connection.
func (m *Manager) withdraw(ctx context.Context, done notice) error {
	return m.changeBoard(ctx, func(b *board) {
		b.Disconnects = slices.DeleteFunc(b.Disconnects, func(n notice) bool { return n.ID == done.ID })
		b.tell(done.User)
	})
}

// tellChange tells all sidecars to read a connection. They do so by themselves
// in some minutes if it fails.
func (m *Manager) tellChange(ctx context.Context, user string) {
	_ = m.changeBoard(ctx, func(b *board) { b.tell(user) })
}

// missed returns whose connections have changed since a change, or all if the
// board does not remember them.
func (b *board) missed(since uint64) (users []string, all bool) {
	if b.Last < since {
		return nil, true // the ledger was lost, or restored from a backup
	}
	if b.Last > since && (len(b.Changes) == 0 || b.Changes[0].Number > since+1) {
		return nil, true
	}
	for _, c := range b.Changes {
		if c.Number > since && !slices.Contains(users, c.User) {
			users = append(users, c.User)
		}
	}
	return users, false
}

// retry says when a disconnect on the board is tried again by this process.
type retry struct {
	at   time.Time
	wait time.Duration
}
