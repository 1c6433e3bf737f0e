package audit

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"
)

// Problem says how a log differs from what was written.
type Problem string

// The problems. The Detail of a [Break] says more.
const (
	// Changed is a line that is not what was written there: it, or one that
	// it was written after, is another one, or stands where it was not
	// written.
	Changed Problem = "changed"
	// Removed is a line that does not come yet: those before it are missing,
	// or stand elsewhere.
	Removed Problem = "removed"
	// Unfinished is a last line without its end: it is being written, or
	// its process ended meanwhile and none has come after it.
	Unfinished Problem = "unfinished"
	// Cut is a log in which a line is missing that is known to have been
	// written, as [VerifyOptions] say, or that has none at all.
	Cut Problem = "cut"
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
		if err := v.follow(file, pieces(file)); err != nil {
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
	for p, err := range pieces(path) {
		if err != nil || p.isLine {
			return p.line.Seq, err
		}
	}
	return math.MaxUint64, nil
}

// verifier follows a chain over files.
type verifier struct {
	options VerifyOptions
	report  Report
	// headSeen is set once the line of options.Head was read.
	headSeen bool
	place    place
	// last is where the line of report.Head stands.
	last place
	junk junk
}

type place struct {
	file   string
	number uint64
}

// follow follows the chain through the pieces of a file; path is for its
// places.
func (v *verifier) follow(path string, pieces iter.Seq2[piece, error]) error {
	v.place = place{file: path}
	for p, err := range pieces {
		if err != nil {
			return err
		}
		if p.begins {
			v.place.number++
		}
		if p.isLine {
			v.line(p)
		} else {
			v.junk.add(v.place, p.raw)
		}
	}
	switch {
	case !v.junk.found():
	case v.junk.place == v.place && !v.junk.feed:
		v.fail(Unfinished, v.place, "it is being written, or its process ended; the next process will mark it")
	default:
		v.fail(Changed, v.junk.place, noHash)
	}
	v.junk = junk{}
	return nil
}

// line takes a line that has its own hash. After a break lines are counted
// only.
func (v *verifier) line(p piece) {
	if v.report.Break == nil {
		v.judge(p.line)
	}
	v.junk = junk{}
	v.count(p.line)
	if v.options.Visit != nil {
		v.options.Visit(p.line, p.raw[:len(p.raw)-1])
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

const noHash = "it does not have its own hash"

// judge decides whether a line is the next of the chain.
func (v *verifier) judge(line Line) {
	head, first := v.report.Head, v.report.Lines == 0
	// The lines before the first one are in other files.
	fits := line.follows(head) || first && line.Seq > 1
	switch {
	case fits && line.Torn != nil && v.junk.is(*line.Torn):
		v.report.Torn++
	case fits && line.Torn != nil:
		v.fail(Changed, v.place, "it follows %d bytes of an unfinished line, and they are not there as they were", line.Torn.Bytes)
	case fits && v.junk.found() && !first:
		v.fail(Changed, v.junk.place, "it was put in: the lines before and after it follow one another")
	case v.junk.found():
		v.fail(Changed, v.junk.place, noHash)
	case fits && first && line.Kind != KindFile:
		v.fail(Removed, v.place, "the first line of the file should come here, and it is line %d", line.Seq)
	case fits:
	case line.Seq > head.Seq+1:
		v.fail(Removed, v.place, "line %d should come here, and it is line %d", head.Seq+1, line.Seq)
	case line.Seq <= head.Seq || first:
		v.fail(Changed, v.place, "line %d should come here, and this line %d was written elsewhere", head.Seq+1, line.Seq)
	default:
		v.fail(Changed, v.last, "line %d was written after another line %d than this one", line.Seq, head.Seq)
	}
	if v.report.Break == nil {
		v.report.Head, v.last = line.head(), v.place
	}
}

func (v *verifier) fail(problem Problem, at place, format string, args ...any) {
	if v.report.Break == nil {
		v.report.Break = &Break{Problem: problem, File: at.file, Number: at.number, Detail: fmt.Sprintf(format, args...)}
	}
}

// finish judges the log as a whole.
func (v *verifier) finish() {
	switch {
	case v.report.Lines == 0:
		v.fail(Cut, place{}, "there is no line; a log begins with one when it is opened")
	case v.options.Head != "" && !v.headSeen:
		v.fail(Cut, place{}, "no line has the hash %s; the end was cut off, or everything from some line on was written anew", strings.ToLower(v.options.Head))
	case v.options.From != 0 && v.report.First > v.options.From:
		v.fail(Cut, place{}, "it begins with line %d, and should with line %d or one before it", v.report.First, v.options.From)
	}
}
