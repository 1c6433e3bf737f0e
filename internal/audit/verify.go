package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Problem says how a log differs from what was written.
type Problem string

// The problems.
const (
	// Changed is a line that is not as it was written.
	Changed Problem = "changed"
	// Removed is one or more lines that are missing before the line.
	Removed Problem = "removed"
	// Inserted is a line that was not written there.
	Inserted Problem = "inserted"
	// Reordered is a line that stands before one that was written earlier.
	Reordered Problem = "reordered"
	// Unfinished is a last line without its end: it is being written, or
	// its process ended meanwhile and none has come after it.
	Unfinished Problem = "unfinished"
	// Cut is a log in which a line is missing that is known to have been
	// written; see [VerifyOptions].
	Cut Problem = "cut"
	// Empty is a log without lines.
	Empty Problem = "empty"
)

// Break is the first place at which a log is not as it was written.
type Break struct {
	Problem Problem
	// File and Number, which counts the file's lines from 1, say where the
	// line stands. They are empty for a problem of the log as a whole.
	File   string
	Number uint64
	// Detail is a sentence for operators.
	Detail string
}

// Error tells all of it.
func (b *Break) Error() string {
	if b.File == "" {
		return fmt.Sprintf("%s: %s", b.Problem, b.Detail)
	}
	return fmt.Sprintf("%s:%d: %s: %s", b.File, b.Number, b.Problem, b.Detail)
}

// VerifyOptions say what is known of a log from elsewhere.
type VerifyOptions struct {
	// Head, if not empty, is the hash of a line that was written.
	Head string
	// From, if not 0, is the number of a line that was written, with all
	// lines after it.
	From uint64
	// Visit, if not nil, is called for each line that has its own hash, in
	// the order of the files, after a break too. raw is the line as it
	// stands there, and only good during the call.
	Visit func(line Line, raw []byte)
}

// Report is what [Verify] has found.
type Report struct {
	// Lines are those that have their own hash; First and Last are the
	// numbers of the first and the last of them.
	Lines, First, Last  uint64
	FirstTime, LastTime time.Time
	// Head is that of the last line, or of the last before the break.
	Head Head
	// Lost is the number of entries that were not written, and Torn how
	// often a process left an unfinished line behind, as the log itself
	// says.
	Lost, Torn uint64
	// Break is nil for a log that is as it was written.
	Break *Break
}

// Verify reads the files of one log, in any order, and finds the first place
// at which it is not as it was written. It holds one line in memory. The error
// is about files that cannot be read, not about what is in them.
//
// Files that are still written can be verified; one of the last lines may be
// unfinished then.
func Verify(files []string, o VerifyOptions) (Report, error) {
	ordered, err := inOrder(files)
	if err != nil {
		return Report{}, err
	}
	v := &verifier{options: o}
	for _, file := range ordered {
		if err := v.read(file); err != nil {
			return v.report, err
		}
	}
	v.finish()
	return v.report, nil
}

// inOrder sorts files by the number of their first line.
func inOrder(files []string) ([]string, error) {
	firsts := make(map[string]uint64, len(files))
	for _, file := range files {
		first, err := firstSeq(file)
		if err != nil {
			return nil, err
		}
		firsts[file] = first
	}
	ordered := slices.Clone(files)
	slices.SortStableFunc(ordered, func(a, b string) int { return cmp.Compare(firsts[a], firsts[b]) })
	return slices.Compact(ordered), nil
}

// firstSeq returns the number of a file's first line. A file without lines
// comes last.
func firstSeq(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	lines := newLineReader(f)
	for {
		raw, _, err := lines.next()
		if line, ok := parseLine(raw); ok {
			return line.Seq, nil
		}
		if errors.Is(err, io.EOF) {
			return ^uint64(0), nil
		}
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", path, withoutPath(err))
		}
	}
}

// verifier follows a chain over files.
type verifier struct {
	options VerifyOptions
	report  Report
	// head is that of the last line that fits.
	head Head
	// headSeen is set once the line of options.Head was read.
	headSeen bool
	place    place
	// last is where the last line that fits stands.
	last place
	junk junk
}

type place struct {
	file   string
	number uint64
}

// read opens a file and follows the chain through it.
func (v *verifier) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return v.follow(path, f)
}

// follow follows the chain through what r has; path is for its places.
func (v *verifier) follow(path string, r io.Reader) error {
	v.place = place{file: path}
	lines := newLineReader(r)
	for {
		raw, part, err := lines.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading %s: %w", path, withoutPath(err))
		}
		if !part.continued && (len(raw) > 0 || err == nil) {
			v.place.number++
		}
		line, ok := Line{}, false
		if err == nil && part.whole() {
			line, ok = parseLine(raw)
		}
		switch {
		case ok:
			v.line(line, raw)
		case len(raw) > 0 || err == nil:
			v.junk.add(v.place, raw, part, err != nil)
		}
		if err != nil {
			v.endOfFile()
			return nil
		}
	}
}

// line takes a line that has its own hash.
func (v *verifier) line(line Line, raw []byte) {
	if v.report.Break == nil {
		v.judge(line)
	} else {
		v.lookForMoved(line)
	}
	v.junk.clear()
	v.count(line)
	if v.options.Visit != nil {
		v.options.Visit(line, raw)
	}
}

func (v *verifier) count(line Line) {
	r := &v.report
	if r.Lines == 0 {
		r.First, r.FirstTime = line.Seq, line.Time
	}
	r.Lines++
	r.Last, r.LastTime = line.Seq, line.Time
	r.Lost += line.Lost
	if line.Hash == v.options.Head {
		v.headSeen = true
	}
}

// judge decides whether a line is the next of the chain.
func (v *verifier) judge(line Line) {
	fits, first := line.follows(v.head), v.report.Lines == 0
	if first && line.Seq > 1 {
		// The lines before it are in other files.
		fits = true
	}
	switch {
	case line.Torn != nil && fits && v.junk.is(*line.Torn):
		v.report.Torn++
	case line.Torn != nil && fits:
		v.fail(Changed, v.place, "it follows %d bytes of an unfinished line, and they are not there as they were", line.Torn.Bytes)
	case v.junk.found() && fits && !first:
		v.fail(Inserted, v.junk.place, "the lines before and after it follow one another")
	case v.junk.found():
		v.fail(Changed, v.junk.place, "it does not have its own hash")
	case first && fits && line.Kind != KindFile:
		v.fail(Removed, v.place, "the first line of the file should come here, and it is line %d", line.Seq)
	case fits:
	case line.Seq > v.head.Seq+1:
		v.fail(Removed, v.place, "line %d should come here, and it is line %d", v.head.Seq+1, line.Seq)
	case line.Seq <= v.head.Seq:
		v.fail(Inserted, v.place, "line %d is past already, and here is a line %d", v.head.Seq, line.Seq)
	case first:
		v.fail(Changed, v.place, "it says that it is the first line of all, and that there is a line before it")
	default:
		v.fail(Changed, v.last, "line %d was written after another line %d than this one", line.Seq, v.head.Seq)
	}
	if v.report.Break == nil {
		v.head, v.last = line.head(), v.place
		v.report.Head = v.head
	}
}

// lookForMoved looks, where lines seemed to be removed, for the one that
// should have been there.
func (v *verifier) lookForMoved(line Line) {
	if b := v.report.Break; b.Problem == Removed && line.follows(v.head) {
		b.Problem = Reordered
		b.Detail += fmt.Sprintf("; line %d stands in line %d of %s", line.Seq, v.place.number, v.place.file)
	}
}

func (v *verifier) fail(problem Problem, at place, format string, args ...any) {
	if v.report.Break == nil {
		v.report.Break = &Break{Problem: problem, File: at.file, Number: at.number, Detail: fmt.Sprintf(format, args...)}
	}
}

// endOfFile judges what stands behind a file's last line.
func (v *verifier) endOfFile() {
	if v.junk.found() {
		if v.junk.unfinished {
			v.fail(Unfinished, v.junk.place, "it is being written, or its process ended; the next process will mark it")
		} else {
			v.fail(Changed, v.junk.place, "it does not have its own hash")
		}
	}
	v.junk.clear()
}

// finish judges the log as a whole.
func (v *verifier) finish() {
	switch {
	case v.report.Lines == 0:
		v.fail(Empty, place{}, "there is no line")
	case v.options.Head != "" && !v.headSeen:
		v.fail(Cut, place{}, "no line has the hash %s; the end was cut off, or everything from some line on was written anew", strings.ToLower(v.options.Head))
	case v.options.From != 0 && v.report.First > v.options.From:
		v.fail(Cut, place{}, "it begins with line %d, and should with line %d or one before it", v.report.First, v.options.From)
	}
}
