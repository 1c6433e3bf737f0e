package audit

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes and times of a [Log].
const (
	// queueLength is how many entries may wait to be written.
	queueLength = 4096
	// maxBatch is how many lines are written at once at the most.
	maxBatch = 256
	// batchPause is how long lines are gathered after a batch was written, so
	// that not every request under load wakes the goroutine that writes.
	batchPause = 5 * time.Millisecond
	// patience is how long Record waits for a place in a full queue.
	patience = time.Second
	// tickEvery is how often lines are forced to the disk and a file that
	// failed is tried again.
	tickEvery = time.Second
	// headEvery is how often a head that has changed is logged.
	headEvery = time.Minute
	// rollPause is how long a file that could not be rolled is left alone.
	rollPause = time.Minute
	// tagTimeout bounds the search for one tag, and tagPause is how long
	// none is searched for after one was not found.
	tagTimeout = 500 * time.Millisecond
	tagPause   = 10 * time.Second
)

// Limits say when a file is full and how many full ones are kept.
type Limits struct {
	// RollSize is the size in bytes from which on a file is closed and
	// another begun; 0 is never.
	RollSize int64
	// RollKeep is how many closed files are kept; 0 is all.
	RollKeep int
}

// Options say what a [Log] writes and whom it tells. File and Logger are
// required.
type Options struct {
	// File is the path of the file that is written. Full files are beside
	// it, with the number of their last line in the name.
	File string
	// Limits is asked whenever a file may be full; nil is no limits.
	Limits func() Limits
	// Logger is told the heads, at the start, when a file is full, once a
	// minute and at the end, and of everything that is wrong.
	Logger *slog.Logger
	// Lost is told the number of entries that were not written; it may be
	// nil. It is called concurrently.
	Lost func(n int)

	// open opens the file; nil is the file system. Tests make it fail.
	open func(path string, mode fs.FileMode) (file, error)
}

// Log writes entries to a file. It is safe for concurrent use. One goroutine
// owns the file, from [Log.Open] to [Log.Close].
//
// What cannot be written is never lost silently: it is counted, logged, and
// stands as a line of its own in the log once that can be written again.
type Log struct {
	options Options
	queue   chan Entry

	// mu is held to read by those who put an entry into the queue, and to
	// write by Close, after which there are none.
	mu     sync.RWMutex
	closed bool
	// stalled is set while the queue is full and nobody waits for it.
	stalled atomic.Bool
	// untold are entries that were lost and of which no line tells yet;
	// lost are all.
	untold, lost atomic.Uint64
	head         atomic.Pointer[Head]
	problem      atomic.Pointer[string]

	// opening guards opened.
	opening sync.Mutex
	opened  bool
	closing chan struct{}
	done    chan struct{}

	// w and rollAfter belong to the goroutine. rollAfter is when a file that
	// could not be rolled is tried again.
	w         *writer
	rollAfter time.Time
}

// NewLog makes a Log that takes entries and writes them once it is opened. It
// touches no file.
func NewLog(o Options) *Log {
	l := &Log{
		options: o,
		queue:   make(chan Entry, queueLength),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	l.head.Store(new(Head))
	return l
}

// Open opens the file, which is made if it is not there, and begins to write.
// A log that is open stays as it is. Errors say what is wrong with the file:
// that another process writes it, above all.
func (l *Log) Open() error {
	l.opening.Lock()
	defer l.opening.Unlock()
	if l.opened {
		return nil
	}
	w, err := openWriter(l.options)
	if err != nil {
		return err
	}
	l.w, l.opened = w, true
	l.showHead()
	go l.run()
	return nil
}

// Record has an entry written. It does no I/O and returns at once, unless
// more entries wait than the queue holds; then it waits for a second at the
// most. The entry's Time is now if it has none.
func (l *Log) Record(e Entry) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		l.lose(1)
		return
	}
	select {
	case l.queue <- e:
	default:
		l.recordLate(e)
	}
}

// recordLate waits for a place in the queue. Once one wait was in vain,
// others do not wait until the queue moves again.
func (l *Log) recordLate(e Entry) {
	if l.stalled.Load() {
		l.lose(1)
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.queue <- e:
	case <-timer.C:
		if !l.stalled.Swap(true) {
			l.options.Logger.Error("the audit log is too slow: calls go on without a line in it", "file", l.options.File)
		}
		l.lose(1)
	}
}

// lose counts entries that are not written.
func (l *Log) lose(n int) {
	l.untold.Add(uint64(n))
	l.lost.Add(uint64(n))
	if l.options.Lost != nil {
		l.options.Lost(n)
	}
}

// Close writes what was recorded so far and closes the file. Entries that come
// afterwards are counted as lost. If ctx ends first, the file is closed later.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	wasClosed := l.closed
	l.closed = true
	l.mu.Unlock()
	l.opening.Lock()
	opened := l.opened
	l.opened = true
	l.opening.Unlock()
	if !wasClosed {
		close(l.closing)
		if !opened {
			close(l.done)
		}
	}
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the audit log: %w", ctx.Err())
	}
}

// File is the path of the file.
func (l *Log) File() string { return l.options.File }

// Head is the head of what was written.
func (l *Log) Head() Head { return *l.head.Load() }

// LogHead has the head logged, for a time when the log may soon be gone.
func (l *Log) LogHead() { l.tellHead("audit log head") }

// Lost is how many entries were not written since the log was made.
func (l *Log) Lost() uint64 { return l.lost.Load() }

// Problem says why the file cannot be written at the moment; it is empty if
// it can.
func (l *Log) Problem() string {
	if problem := l.problem.Load(); problem != nil {
		return *problem
	}
	if l.stalled.Load() {
		return "the disk is too slow"
	}
	return ""
}
