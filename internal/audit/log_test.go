package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// settle lets a log, in a bubble, write what was recorded.
func settle() { time.Sleep(2 * batchPause) }

func TestLogWritesAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		for run := range 3 {
			l := openTestLog(t, path)
			if err := l.Open(); err != nil {
				t.Errorf("opening it twice: %v", err)
			}
			l.Record(call(fmt.Sprintf("caller-%d", run)))
			settle()
			// It is in the file at once.
			if !strings.Contains(content(t, path), fmt.Sprintf("caller-%d", run)) {
				t.Error("a line was not written when there was time")
			}
			l.close()
			report, lines := verified(t, path, VerifyOptions{From: 1, Head: l.Head().Hash})
			if len(lines) != run+1 || report.Head != l.Head() || lines[run].Caller != fmt.Sprintf("caller-%d", run) {
				t.Errorf("run %d: %+v, lines %v", run, report, lines)
			}
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	})
}

func TestLineHoldsWhatWasRecorded(t *testing.T) {
	path := testPath(t)
	l := openTestLog(t, path)
	at := time.Date(2026, 9, 1, 12, 0, 0, 123456789, time.FixedZone("CEST", 7200))
	e := call("crm-sync")
	e.Time, e.User, e.Error = at, "acme@example.com", "rate_limited"
	l.Record(e)
	l.close()
	_, lines := verified(t, path, VerifyOptions{})
	want := e
	want.Time, want.User = at.UTC().Truncate(time.Millisecond), ""
	if len(lines) != 1 || lines[0].Entry != want {
		t.Errorf("lines %+v, want %+v", lines, want)
	}
	text := content(t, path)
	if strings.Contains(text, "acme") || !strings.Contains(text, `"time":"2026-09-01T10:00:00.123Z","kind":"call","app":"hbdev","caller":"crm-sync"`) {
		t.Errorf("file: %s", text)
	}
}

func TestConcurrentRecords(t *testing.T) {
	path := testPath(t)
	l := openTestLog(t, path, func(o *Options) { o.Limits = func() Limits { return Limits{RollSize: 64 << 10} } })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				l.Record(call("crm-sync"))
			}
		})
	}
	all.Wait()
	l.close()
	if _, lines := verified(t, path, VerifyOptions{From: 1, Head: l.Head().Hash}); len(lines) != 1600 || l.Lost() != 0 {
		t.Errorf("%d lines, %d lost", len(lines), l.Lost())
	}
	if files, _ := Rolled(path); len(files) < 3 {
		t.Errorf("rolled %d files", len(files))
	}
}

// However much of the last line a crash has left, the chain goes on, and what
// was left stands there.
func TestCrashInTheMiddleOfALine(t *testing.T) {
	text, head := sample(3)
	lines := linesOf(text)
	last := lines[len(lines)-1] + "\n"
	before := strings.TrimSuffix(text, last)
	for left := range len(last) {
		if left%17 != 0 && left < len(last)-2 {
			continue
		}
		path := testPath(t)
		writeFile(t, path, before+last[:left])
		l := openTestLog(t, path)
		l.Record(call("after-the-crash"))
		l.close()
		report, got := verified(t, path, VerifyOptions{From: 1, Head: l.Head().Hash})
		// A line that lacks nothing but its line feed is a whole one.
		torn, calls := uint64(1), 3
		switch left {
		case 0:
			torn = 0
		case len(last) - 1:
			torn, calls = 0, 4
		}
		if report.Torn != torn || len(got) != calls || !strings.HasPrefix(content(t, path), before+last[:left]) {
			t.Fatalf("%d bytes left: %+v, %d lines", left, report, len(got))
		}
		// Whoever knows the head of before sees that the line is gone.
		r, _ := read(t, path, VerifyOptions{Head: head.Hash})
		if gone := r.Break != nil && r.Break.Problem == Cut; gone != (calls == 3) {
			t.Fatalf("%d bytes left: with the head of before: %v", left, r.Break)
		}
	}
}

func TestCrashLeavesGarbage(t *testing.T) {
	text, _ := sample(1)
	for name, left := range map[string]string{
		"zeros":            strings.Repeat("\x00", 5000),
		"an empty line":    "\n",
		"lines of nothing": "\n{}\n\n",
		"half of the next": "{\"seq\":4,\"prev\"",
		"a long one":       strings.Repeat("x", 3*maxLine),
	} {
		path := testPath(t)
		writeFile(t, path, text+left)
		l := openTestLog(t, path)
		l.close()
		if report, _ := verified(t, path, VerifyOptions{From: 1}); report.Torn != 1 {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

// The first line of a file can be torn as well: the chain comes from the file
// before it.
func TestCrashAfterRolling(t *testing.T) {
	for _, left := range []string{"gone", "", `{`, `{"seq":`, `{"seq":7,"prev":"00`} {
		path := testPath(t)
		text, head := sample(4)
		writeFile(t, rolledName(path, head.Seq), text)
		if left != "gone" {
			writeFile(t, path, left)
		}
		l := openTestLog(t, path)
		l.close()
		if report, _ := verified(t, path, VerifyOptions{From: 1, Head: head.Hash}); report.Last <= head.Seq {
			t.Errorf("%q: %+v", left, report)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "other"), "# settings\nkey = value\n")
	writeFile(t, filepath.Join(folder, "large"), strings.Repeat("x", maxEnd)+"\n{\"seq\":")
	for _, tc := range []struct{ path, want string }{
		{filepath.Join(folder, "none", "audit.jsonl"), "its folder is not there; make it"},
		{folder, "is a directory"},
		{filepath.Join(folder, "other"), "does not end with lines of an audit log"},
		{filepath.Join(folder, "large"), "does not end with lines of an audit log"},
	} {
		before, _ := os.ReadFile(tc.path)
		err := newTestLog(t, tc.path).Open()
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.path) {
			t.Errorf("%s: %v, want %s", tc.path, err, tc.want)
		}
		if after, _ := os.ReadFile(tc.path); string(after) != string(before) {
			t.Errorf("%s was changed", tc.path)
		}
	}
}

func TestOneProcessPerFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		first := openTestLog(t, path)
		if err := newTestLog(t, path).Open(); !errors.Is(err, errLocked) {
			t.Errorf("opening what another writes: %v", err)
		}
		first.close()
		// It is free again.
		openTestLog(t, path).close()
		verified(t, path, VerifyOptions{From: 1})
	})
}

// A log that is about to be closed is waited for.
func TestOpenWaitsForTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		first := openTestLog(t, path)
		go func() {
			time.Sleep(time.Second)
			first.close()
		}()
		second := openTestLog(t, path)
		second.close()
		verified(t, path, VerifyOptions{From: 1})
	})
}

func TestRolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		limits := Limits{RollSize: 2000, RollKeep: 3}
		l := openTestLog(t, path, func(o *Options) { o.Limits = func() Limits { return limits } })
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			l.Record(call("crm-sync"))
			settle()
		}
		l.close()
		files, err := Rolled(path)
		if err != nil || len(files) != 3 {
			t.Fatalf("files %v, %v", files, err)
		}
		report, _ := verified(t, path, VerifyOptions{Head: l.Head().Hash})
		if report.First == 1 {
			t.Error("nothing was removed")
		}
		for _, file := range append(files, path) {
			info, err := os.Stat(file)
			if err != nil || info.Size() > 3000 || info.Mode().Perm() != 0o640 {
				t.Errorf("%s: %v, %v", file, info, err)
			}
			if !strings.Contains(strings.SplitN(content(t, file), "\n", 2)[0], `"kind":"file"`) {
				t.Errorf("%s begins with another line", file)
			}
		}
		if !strings.Contains(l.logs.String(), "audit log rolled") {
			t.Error("no head was logged when a file was full")
		}
	})
}

func TestFullNameIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		l := openTestLog(t, path, func(o *Options) { o.Limits = func() Limits { return Limits{RollSize: 1} } })
		writeFile(t, rolledName(path, l.Head().Seq+1), "mine")
		l.Record(call("crm-sync"))
		settle()
		l.Record(call("crm-sync"))
		settle()
		l.close()
		if content(t, rolledName(path, 3)) != "mine" {
			t.Error("a file was overwritten")
		}
		report, err := Verify([]string{path}, VerifyOptions{From: 1, Head: l.Head().Hash})
		if err != nil || report.Break != nil || l.Lost() != 0 {
			t.Errorf("%v, %v, %d lost", report.Break, err, l.Lost())
		}
		if got := strings.Count(l.logs.String(), "no other file can be begun"); got != 1 {
			t.Errorf("said %d times", got)
		}
	})
}

func TestHeadIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t, testPath(t))
		l.Record(call("crm-sync"))
		time.Sleep(2 * time.Minute)
		after := l.Head()
		time.Sleep(time.Hour)
		l.close()
		logs := l.logs.String()
		if got := strings.Count(logs, "msg=\"audit log head\""); got != 1 {
			t.Errorf("%d heads while one line was written:\n%s", got, logs)
		}
		for _, head := range []Head{after, l.Head()} {
			if !strings.Contains(logs, fmt.Sprintf("seq=%d hash=%s", head.Seq, head.Hash)) {
				t.Errorf("head %v is not logged:\n%s", head, logs)
			}
		}
	})
}

// faultyDisk is a file system whose files fail when they are told to.
type faultyDisk struct {
	full, broken, stuck atomic.Bool
	// free lets stuck writes go on.
	free  chan struct{}
	syncs atomic.Int64
}

type faultyFile struct {
	*os.File
	disk *faultyDisk
}

func (d *faultyDisk) use(o *Options) {
	d.free = make(chan struct{})
	o.open = func(path string, mode fs.FileMode) (file, error) {
		f, err := openFile(path, mode)
		if err != nil {
			return nil, err
		}
		return &faultyFile{f.(*os.File), d}, nil
	}
}

var errNoSpace = errors.New("no space left on device")

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.disk.stuck.Load() {
		<-f.disk.free
	}
	if f.disk.full.Load() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, errNoSpace
	}
	return f.File.Write(p)
}

func (f *faultyFile) Truncate(size int64) error {
	if f.disk.broken.Load() {
		return errors.New("input/output error")
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Sync() error {
	f.disk.syncs.Add(1)
	if f.disk.broken.Load() {
		return errors.New("input/output error")
	}
	return f.File.Sync()
}

// While the disk is full, nobody waits and everything is counted; afterwards
// the log itself says how many.
func TestDiskFull(t *testing.T) {
	for _, broken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var disk faultyDisk
			var told atomic.Int64
			path := testPath(t)
			l := openTestLog(t, path, disk.use, func(o *Options) { o.Lost = func(n int) { told.Add(int64(n)) } })
			l.Record(call("before"))
			settle()
			disk.full.Store(true)
			disk.broken.Store(broken)
			for range 10 {
				begun := time.Now()
				l.Record(call("meanwhile"))
				if waited := time.Since(begun); waited > 0 {
					t.Errorf("a caller waited for %v", waited)
				}
				settle()
			}
			if !strings.Contains(l.Problem(), "no space left") && !strings.Contains(l.Problem(), "input/output") || l.Lost() != 10 || told.Load() != 10 {
				t.Errorf("problem %q, %d lost, %d told", l.Problem(), l.Lost(), told.Load())
			}
			if whole := strings.HasSuffix(content(t, path), "\"}\n"); whole == broken {
				t.Errorf("the file ends with a whole line: %v", whole)
			}
			time.Sleep(time.Minute)
			if got := strings.Count(l.logs.String(), "level=ERROR"); got != 1 {
				t.Errorf("said %d times:\n%s", got, l.logs)
			}
			disk.full.Store(false)
			disk.broken.Store(false)
			time.Sleep(2 * time.Second)
			if l.Problem() != "" {
				t.Errorf("problem afterwards: %s", l.Problem())
			}
			l.Record(call("after"))
			l.close()
			report, lines := verified(t, path, VerifyOptions{From: 1, Head: l.Head().Hash})
			if report.Lost != 10 || report.Torn != 0 || len(lines) != 2 || lines[1].Caller != "after" {
				t.Errorf("report %+v, lines %v", report, lines)
			}
			if !strings.Contains(l.logs.String(), "can be written again") {
				t.Errorf("logs: %s", l.logs)
			}
		})
	}
}

func TestSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk faultyDisk
		path := testPath(t)
		l := openTestLog(t, path, disk.use)
		disk.broken.Store(true)
		l.Record(call("crm-sync"))
		time.Sleep(10 * time.Second)
		if !strings.Contains(l.Problem(), "input/output error") || strings.Count(l.logs.String(), "level=ERROR") != 1 {
			t.Errorf("problem %q, logs %s", l.Problem(), l.logs)
		}
		disk.broken.Store(false)
		time.Sleep(2 * time.Second)
		if l.Problem() != "" {
			t.Errorf("problem afterwards: %s", l.Problem())
		}
		l.close()
		verified(t, path, VerifyOptions{From: 1})
	})
}

func TestSyncsOnlyWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk faultyDisk
		l := openTestLog(t, testPath(t), disk.use)
		opened := disk.syncs.Load()
		for range 100 {
			l.Record(call("crm-sync"))
			settle()
		}
		time.Sleep(time.Hour)
		if got := disk.syncs.Load() - opened; got != 1 {
			t.Errorf("%d syncs for 100 lines within a second and an hour without", got)
		}
		l.close()
	})
}

// A disk that does not answer lets callers wait for a second once, and then
// no more.
func TestDiskStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk faultyDisk
		path := testPath(t)
		l := openTestLog(t, path, disk.use)
		disk.stuck.Store(true)
		l.Record(call("crm-sync"))
		settle()
		begun := time.Now()
		const more = 50
		for range queueLength + more {
			l.Record(call("crm-sync"))
		}
		if waited := time.Since(begun); waited != patience {
			t.Errorf("callers waited for %v in all, want %v once", waited, patience)
		}
		if l.Lost() != more || l.Problem() == "" {
			t.Errorf("%d lost, problem %q", l.Lost(), l.Problem())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closing meanwhile: %v", err)
		}
		disk.stuck.Store(false)
		close(disk.free)
		l.close()
		report, lines := verified(t, path, VerifyOptions{From: 1, Head: l.Head().Hash})
		if report.Lost != more || len(lines) != queueLength+1 {
			t.Errorf("report %+v, %d lines", report, len(lines))
		}
	})
}

func TestFileMovedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		l := openTestLog(t, path)
		l.Record(call("before"))
		settle()
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		l.Record(call("after"))
		l.close()
		report, err := Verify([]string{path, path + ".1"}, VerifyOptions{From: 1, Head: l.Head().Hash})
		if err != nil || report.Break != nil || report.Lost != 0 {
			t.Errorf("report %+v, %v", report, err)
		}
		if !strings.Contains(content(t, path), "after") || !strings.Contains(l.logs.String(), "moved or removed") {
			t.Errorf("file %s, logs %s", content(t, path), l.logs)
		}
		// The rest alone does not pass for all.
		if report, _ := Verify([]string{path}, VerifyOptions{From: 1}); report.Break == nil {
			t.Error("a log without its beginning was accepted")
		}
	})
}

// What somebody else does to the file shows in the chain, since this process
// knows what it wrote.
func TestFileChangedMeanwhile(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"emptied":   func(path string) error { return os.Truncate(path, 0) },
		"shortened": func(path string) error { return os.Truncate(path, 700) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := testPath(t)
				l := openTestLog(t, path)
				l.Record(call("before"))
				time.Sleep(2 * time.Second)
				if err := change(path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if !strings.Contains(l.logs.String(), "somebody else") {
					t.Errorf("logs: %s", l.logs)
				}
				l.Record(call("after"))
				l.close()
				if report, lines := read(t, path, VerifyOptions{From: 1}); report.Break == nil || len(lines) == 0 || lines[len(lines)-1].Caller != "after" {
					t.Errorf("%v, lines %v", report.Break, lines)
				}
			})
		})
	}
}

func TestSomebodyElseWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		l := openTestLog(t, path)
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("a line of somebody else\n"); err != nil {
			t.Fatal(err)
		}
		l.Record(call("crm-sync"))
		l.close()
		_ = f.Close()
		// A line that was put in is called changed: what stands there was not
		// written there.
		if report, lines := read(t, path, VerifyOptions{From: 1}); report.Break == nil || report.Break.Problem != Changed || report.Break.Number != 3 || len(lines) != 1 {
			t.Errorf("%v, lines %v", report.Break, lines)
		}
	})
}

// fakeTagger knows the tag of acme without asking.
type fakeTagger struct{ asked atomic.Int64 }

func (f *fakeTagger) Tag(ctx context.Context, user string) string {
	if user == "acme" {
		return "0123456789ab"
	}
	if ctx.Err() == nil {
		f.asked.Add(1)
		<-ctx.Done()
	}
	return UnknownTag
}

// The search for a tag lets nobody wait, and is not made again and again.
func TestTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testPath(t)
		l := openTestLog(t, path)
		var tagger fakeTagger
		for range 100 {
			for _, user := range []string{"globex", "acme"} {
				e := call("crm-sync")
				e.UserTag, e.User, e.Tagger = "", user, &tagger
				l.Record(e)
			}
		}
		time.Sleep(time.Second)
		l.close()
		_, lines := verified(t, path, VerifyOptions{})
		tags := make(map[string]int)
		for _, line := range lines {
			tags[line.UserTag]++
		}
		if tags["0123456789ab"] != 100 || tags[UnknownTag] != 100 || tagger.asked.Load() != 1 {
			t.Errorf("tags %v, asked %d times", tags, tagger.asked.Load())
		}
	})
}

func TestClosedLogCountsWhatItLoses(t *testing.T) {
	path := testPath(t)
	l := newTestLog(t, path)
	l.close()
	l.close()
	l.Record(call("crm-sync"))
	if l.Lost() != 1 {
		t.Errorf("%d lost", l.Lost())
	}
	if exists(path) || exists(path+".lock") {
		t.Error("a log that was never opened has made a file")
	}
}

func TestRecordsBeforeOpen(t *testing.T) {
	path := testPath(t)
	l := newTestLog(t, path)
	l.Record(call("early"))
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	l.close()
	if _, lines := verified(t, path, VerifyOptions{}); len(lines) != 1 {
		t.Errorf("lines %v", lines)
	}
}

// BenchmarkLine is the encoding of a line with its hash.
func BenchmarkLine(b *testing.B) {
	var head Head
	e := call("crm-sync")
	e.Time = time.Date(2026, 9, 1, 12, 0, 0, 123e6, time.UTC)
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer, head = head.appendLine(buffer[:0], e)
	}
	b.SetBytes(int64(len(buffer)))
}

func BenchmarkRecord(b *testing.B) {
	l := NewLog(Options{File: filepath.Join(b.TempDir(), "audit.jsonl"), Logger: slog.New(slog.DiscardHandler)})
	if err := l.Open(); err != nil {
		b.Fatal(err)
	}
	e := call("crm-sync")
	b.ReportAllocs()
	for b.Loop() {
		l.Record(e)
	}
	if err := l.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(l.Lost())/float64(b.N), "lost/op")
}
