package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/filelock"
)

// fileMode is that of files that are made. An operator who wants them read by
// others changes the mode of the file; the next ones have it too.
const fileMode = 0o600

// file is what a writer does with its file; [os.File] is one.
type file interface {
	io.ReaderAt
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
}

// writer appends lines to the file. It belongs to one goroutine.
type writer struct {
	path   string
	unlock func()
	file   file
	// size is how long the file is up to the last whole line.
	size int64
	head Head
	// dirty is set while lines may not be on the disk.
	dirty  bool
	buffer []byte
	// open opens the file.
	open func(path string, mode fs.FileMode) (file, error)
	warn func(message string, args ...any)
}

var errLocked = errors.New("another process writes it; each process needs a file of its own")

// openWriter locks the file, opens it, and goes on where it ends. It writes a
// line of the kind start, and before it one of the kind torn if the last
// process left something behind.
func openWriter(o Options) (*writer, error) {
	// The log's own file is another one after it was rolled.
	unlock, err := filelock.Lock(o.File + ".lock")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("opening %s: its folder is not there; make it, or name another file", o.File)
	case errors.Is(err, filelock.ErrLocked):
		return nil, fmt.Errorf("locking %s: %w", o.File, errLocked)
	case err != nil:
		return nil, fmt.Errorf("locking %s: %w", o.File, withoutPath(err))
	}
	w := &writer{path: o.File, unlock: unlock, open: openFile, warn: o.Logger.Error}
	if o.open != nil {
		w.open = o.open
	}
	if err := w.begin(); err != nil {
		w.release()
		return nil, fmt.Errorf("opening %s: %w", o.File, err)
	}
	return w, nil
}

func openFile(path string, mode fs.FileMode) (file, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, mode)
}

// begin opens the file and continues its chain, or that of the file before.
func (w *writer) begin() error {
	f, err := w.open(w.path, fileMode)
	if err != nil {
		return withoutPath(err)
	}
	w.file = f
	info, err := f.Stat()
	if err != nil {
		return withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	end, err := readEnd(f, info.Size())
	if err != nil {
		return err
	}
	if end.head.Seq == 0 {
		if end.head, err = lastRolled(w.path); err != nil {
			return err
		}
	}
	w.head, w.size = end.head, info.Size()
	if end.open {
		n, err := f.Write([]byte("\n"))
		if err != nil {
			return fmt.Errorf("writing: %w", withoutPath(err))
		}
		w.size += int64(n)
	}
	if err := w.append(end.entries()); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	return syncFolder(w.path)
}

// entries are the first that a process writes.
func (e end) entries() []Entry {
	now := time.Now()
	start := Entry{Time: now, Kind: KindStart}
	if e.torn.Bytes == 0 {
		return []Entry{start}
	}
	return []Entry{{Time: now, Kind: KindTorn, Torn: &e.torn}, start}
}

// append writes entries as lines. After an error none of them is regarded as
// written: what is there of them is taken away, by mend if not at once.
func (w *writer) append(entries []Entry) error {
	head, buffer := w.head, w.buffer[:0]
	if w.size == 0 {
		buffer, head = head.appendLine(buffer, Entry{Time: time.Now(), Kind: KindFile})
	}
	for _, e := range entries {
		if e.Torn != nil {
			buffer = append(buffer, '\n')
		}
		buffer, head = head.appendLine(buffer, e)
	}
	n, err := w.file.Write(buffer)
	if err != nil {
		if n > 0 {
			_ = w.file.Truncate(w.size)
		}
		return fmt.Errorf("writing: %w", withoutPath(err))
	}
	w.buffer, w.head, w.dirty = buffer, head, true
	w.size += int64(n)
	return nil
}

// sync forces what was written to the disk.
func (w *writer) sync() error {
	if !w.dirty {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("writing to the disk: %w", withoutPath(err))
	}
	w.dirty = false
	return nil
}

// Errors of check, which mend cures.
var (
	errMoved   = errors.New("the file is not there any more: somebody has moved or removed it")
	errChanged = errors.New("the file has another length than it was given: somebody else has written it")
)

// check looks whether the file is still there as it was written.
func (w *writer) check() error {
	info, err := w.file.Stat()
	if err != nil {
		return withoutPath(err)
	}
	there, err := os.Lstat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !sameFile(info, there, w.path):
		return errMoved
	case err != nil:
		return withoutPath(err)
	case info.Size() != w.size:
		return errChanged
	}
	return nil
}

// sameFile reports whether a path, which may be a link, leads to a file.
func sameFile(open, there fs.FileInfo, path string) bool {
	if there.Mode()&fs.ModeSymlink == 0 {
		return os.SameFile(open, there)
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}

// mend has the file be there and end with a whole line. The chain goes on
// from what this process wrote, whatever has become of that.
func (w *writer) mend() error {
	switch err := w.check(); {
	case errors.Is(err, errMoved):
		return w.replace()
	case errors.Is(err, errChanged):
		return w.cut()
	case err != nil:
		return err
	}
	return w.sync()
}

// cut takes away what failed writes have left behind their last whole line.
// Of a file that is too short, or that somebody else has written, nothing is
// taken: the line that comes next does not fit there, which shows.
func (w *writer) cut() error {
	info, err := w.file.Stat()
	if err != nil {
		return withoutPath(err)
	}
	if size := info.Size(); size < w.size {
		w.warn("the audit log was shortened by somebody else", "file", w.path, "was", w.size, "is", size)
		_, err := w.file.Write([]byte("\n"))
		w.size = size + 1
		return withoutPath(err)
	}
	return withoutPath(w.file.Truncate(w.size))
}

// replace begins a new file at the path.
func (w *writer) replace() error {
	f, err := w.open(w.path, fileMode)
	if err != nil {
		return withoutPath(err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		err = errors.New("somebody has put another file in its place")
	}
	if err != nil {
		_ = f.Close()
		return withoutPath(err)
	}
	w.warn("the audit log was moved or removed by somebody else; another file goes on", "file", w.path)
	_ = w.file.Close()
	w.file, w.size, w.dirty = f, 0, false
	return syncFolder(w.path)
}

// roll gives the file, which is full, a name of its own and begins another.
func (w *writer) roll(keep int) error {
	if err := w.sync(); err != nil {
		return err
	}
	info, err := w.file.Stat()
	if err != nil {
		return withoutPath(err)
	}
	full := rolledName(w.path, w.head.Seq)
	if exists(full) {
		return fmt.Errorf("rolling: there is a file %s already", filepath.Base(full))
	}
	if err := os.Rename(w.path, full); err != nil {
		return fmt.Errorf("rolling: %w", withoutPath(err))
	}
	f, err := w.open(w.path, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("rolling: %w", withoutPath(err))
	}
	_ = w.file.Close()
	w.file, w.size = f, 0
	if err := removeRolled(w.path, keep); err != nil {
		w.warn("an old file of the audit log cannot be removed", "error", withoutPath(err))
	}
	return syncFolder(w.path)
}

// close writes everything to the disk and lets go of the file.
func (w *writer) close() error {
	err := w.sync()
	w.release()
	return err
}

func (w *writer) release() {
	if w.file != nil {
		_ = w.file.Close()
	}
	w.unlock()
}

// syncFolder has the names of a folder's files on the disk.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return withoutPath(err)
	}
	defer func() { _ = folder.Close() }()
	// Not all file systems can, and those that cannot need not.
	_ = folder.Sync()
	return nil
}

// withoutPath takes the path out of an error: whoever wraps it names it.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
