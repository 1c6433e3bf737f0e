package audit

import "time"

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

func (l *Log) showHead() { l.head.Store(new(l.w.head)) }

// tellHead logs the head, so that it is known outside of the file.
func (l *Log) tellHead(message string) {
	head := l.Head()
	l.options.Logger.Info(message, "file", l.options.File, "seq", head.Seq, "hash", head.Hash)
}
