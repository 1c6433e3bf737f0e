package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
)

// piece is a line with its line feed, or a part of what is none.
type piece struct {
	// raw is good until the next piece.
	raw []byte
	// begins is set if it is the first of its line.
	begins bool
	// isLine is set if it is a line that has its own hash, and line is that.
	isLine bool
	line   Line
}

// pieces reads a file's lines, of any length, in bounded memory: one that is
// longer than a line of the log can be comes in parts. An error ends it.
func pieces(path string) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		f, err := os.Open(path)
		if err == nil {
			defer func() { _ = f.Close() }()
			err = readPieces(f, func(p piece) bool { return yield(p, nil) })
		}
		if err != nil {
			yield(piece{}, fmt.Errorf("reading %s: %w", path, withoutPath(err)))
		}
	}
}

// readPieces reads pieces until yield wants no more.
func readPieces(r io.Reader, yield func(piece) bool) error {
	buffer := bufio.NewReaderSize(r, maxLine)
	for begins := true; ; {
		raw, err := buffer.ReadSlice('\n')
		p := piece{raw: raw, begins: begins}
		if begins && err == nil {
			p.line, p.isLine = parseLine(raw[:len(raw)-1])
		}
		if len(raw) > 0 && !yield(p) || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		begins = err == nil
	}
}

// junk is a run of bytes, between two lines of the log, that are none.
type junk struct {
	// place is that of the first.
	place place
	// sum is the hash of all but feed, a line feed at the end.
	sum  hash.Hash
	feed bool
}

func (j *junk) found() bool { return j.sum != nil }

func (j *junk) add(at place, raw []byte) {
	if j.sum == nil {
		j.place, j.sum = at, sha256.New()
	}
	if j.feed {
		j.sum.Write([]byte("\n"))
	}
	content, feed := bytes.CutSuffix(raw, []byte("\n"))
	j.sum.Write(content)
	j.feed = feed
}

// is reports whether the run is what a line of the kind torn speaks of.
func (j *junk) is(torn Torn) bool {
	return j.found() && hex.EncodeToString(j.sum.Sum(nil)) == torn.SHA256
}
