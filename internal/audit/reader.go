package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// lineReader reads lines of any length in bounded memory: one that is longer
// than a line of the log can be comes in parts.
type lineReader struct {
	r *bufio.Reader
	// inLine is set if the next part goes on with a line.
	inLine bool
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, maxLine)}
}

// linePart says what of a line next has returned.
type linePart struct {
	// continued is set for a part that is not the first, and open for one
	// that is not the last.
	continued, open bool
}

func (p linePart) whole() bool { return !p.continued && !p.open }

// next returns a line without its line feed, or a part of it, which is good
// until the next call. With io.EOF comes what follows the last line feed.
func (l *lineReader) next() ([]byte, linePart, error) {
	raw, err := l.r.ReadSlice('\n')
	part := linePart{continued: l.inLine, open: errors.Is(err, bufio.ErrBufferFull)}
	l.inLine = part.open
	if part.open {
		return raw, part, nil
	}
	if err == nil {
		raw = raw[:len(raw)-1]
	}
	return raw, part, err
}

// junk is a run of bytes, between two lines of the log, that are none.
type junk struct {
	// place is that of the first.
	place place
	// unfinished is set for one line that has no line feed.
	unfinished bool
	bytes      int64
	lines      int
	sum        hash.Hash
}

func (j *junk) found() bool { return j.lines > 0 }

func (j *junk) clear() { *j = junk{} }

// add takes a line, or a part of one.
func (j *junk) add(at place, raw []byte, part linePart, last bool) {
	if j.lines == 0 {
		j.place, j.sum = at, sha256.New()
	}
	if !part.continued {
		if j.lines > 0 {
			j.write([]byte("\n"))
		}
		j.lines++
		j.unfinished = last && j.lines == 1
	}
	j.write(raw)
}

func (j *junk) write(p []byte) {
	j.bytes += int64(len(p))
	j.sum.Write(p)
}

// is reports whether the run is what a line of the kind torn speaks of.
func (j *junk) is(torn Torn) bool {
	return j.found() && j.bytes == torn.Bytes && hex.EncodeToString(j.sum.Sum(nil)) == torn.SHA256
}
