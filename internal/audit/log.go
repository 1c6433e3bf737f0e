package audit

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
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
	return &Log{
		options: o,
		queue:   make(chan Entry, queueLength),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
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
func (l *Log) Head() Head {
	if head := l.head.Load(); head != nil {
		return *head
	}
	return Head{}
}

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

// run writes until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	pause := time.NewTimer(batchPause)
	defer pause.Stop()
	batch := make([]Entry, 0, maxBatch)
	tags := newTags()
	shown, toldAt := l.Head(), time.Now()
	for {
		select {
		case e := <-l.queue:
			batch = l.fill(append(batch[:0], e))
			tags.resolve(batch)
			l.write(batch)
			clear(batch)
			l.pause(pause)
		case <-ticker.C:
			l.tick()
			if head := l.Head(); head != shown && time.Since(toldAt) >= headEvery {
				l.tellHead("audit log head")
				shown, toldAt = head, time.Now()
			}
		case <-l.closing:
			l.finish(batch, tags)
			return
		}
	}
}

// pause waits a little, unless there is a full batch or the log is closed.
func (l *Log) pause(timer *time.Timer) {
	if len(l.queue) >= maxBatch {
		return
	}
	timer.Reset(batchPause)
	select {
	case <-timer.C:
	case <-l.closing:
	}
}

// fill adds to a batch what waits.
func (l *Log) fill(batch []Entry) []Entry {
	l.stalled.Store(false)
	for len(batch) < maxBatch {
		select {
		case e := <-l.queue:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// write writes a batch, or counts it as lost.
func (l *Log) write(batch []Entry) {
	if l.mend() {
		if err := l.w.append(batch); err == nil {
			l.showHead()
			l.roll()
			return
		} else {
			l.fail(err)
		}
	}
	l.lose(len(batch))
}

// mend reports whether the file can be written, after it has tried to have
// it be so. If entries were lost, it writes a line that says how many.
func (l *Log) mend() bool {
	if l.problem.Load() != nil {
		if err := l.w.mend(); err != nil {
			l.fail(err)
			return false
		}
	}
	if lost := l.untold.Load(); lost > 0 {
		if err := l.w.append([]Entry{{Time: time.Now(), Kind: KindLost, Lost: lost}}); err != nil {
			l.fail(err)
			return false
		}
		l.untold.Add(-lost)
		l.showHead()
	}
	if l.problem.Swap(nil) != nil {
		l.tellHead("the audit log can be written again")
	}
	return true
}

// fail notes that the file cannot be written. It is logged once until then.
func (l *Log) fail(err error) {
	problem := err.Error()
	if l.problem.Swap(&problem) == nil {
		l.options.Logger.Error("the audit log cannot be written: calls go on without a line in it", "file", l.options.File, "error", err)
	}
}

// tick forces lines to the disk, and mends what is to be mended.
func (l *Log) tick() {
	if l.problem.Load() == nil {
		if err := l.w.check(); err != nil {
			l.fail(err)
		}
	}
	if l.mend() {
		if err := l.w.sync(); err != nil {
			l.fail(err)
		}
	}
}

// roll begins a new file if the one that is written is full. If that fails, it
// is tried again after a while: until then the full one takes lines.
func (l *Log) roll() {
	if l.options.Limits == nil {
		return
	}
	limits := l.options.Limits()
	if limits.RollSize == 0 || l.w.size < limits.RollSize || time.Now().Before(l.rollAfter) {
		return
	}
	if err := l.w.roll(limits.RollKeep); err != nil {
		l.rollAfter = time.Now().Add(rollPause)
		l.options.Logger.Error("the audit log is full and no other file can be begun", "file", l.options.File, "error", err)
		return
	}
	l.tellHead("audit log rolled")
}

// finish writes what waits, and a last line.
func (l *Log) finish(batch []Entry, tags *tags) {
	for {
		batch = l.fill(batch[:0])
		if len(batch) == 0 {
			break
		}
		tags.resolve(batch)
		l.write(batch)
	}
	l.write([]Entry{{Time: time.Now(), Kind: KindStop}})
	if err := l.w.close(); err != nil {
		l.fail(err)
	}
	l.tellHead("audit log closed")
}

func (l *Log) showHead() {
	head := l.w.head
	l.head.Store(&head)
}

// tellHead logs the head, so that it is known outside of the file.
func (l *Log) tellHead(message string) {
	head := l.Head()
	l.options.Logger.Info(message, "file", l.options.File, "seq", head.Seq, "hash", head.Hash)
}

// tags finds the tags of users on the goroutine that writes, so that a request
// never waits for one.
type tags struct {
	// known is a context that has ended: what needs no asking is found.
	known context.Context
	// pausedUntil is when a tag that is not known is searched for again.
	pausedUntil time.Time
}

func newTags() *tags {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &tags{known: ctx}
}

func (t *tags) resolve(batch []Entry) {
	for i := range batch {
		e := &batch[i]
		if e.UserTag == "" && e.User != "" && e.Tagger != nil {
			e.UserTag = t.find(e)
		}
	}
}

func (t *tags) find(e *Entry) string {
	tag := e.Tagger.Tag(t.known, e.User)
	if tag != UnknownTag || time.Now().Before(t.pausedUntil) {
		return tag
	}
	ctx, cancel := context.WithTimeout(context.Background(), tagTimeout)
	defer cancel()
	if tag = e.Tagger.Tag(ctx, e.User); tag == UnknownTag {
		t.pausedUntil = time.Now().Add(tagPause)
	}
	return tag
}

// exists reports whether there is something at a path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
