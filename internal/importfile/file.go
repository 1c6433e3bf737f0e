package importfile

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
)

// Format is the form of a file.
type Format string

// The formats.
const (
	// JSONLines has one JSON object a line.
	JSONLines Format = "jsonl"
	// CSV has the names of the fields as its first line (RFC 4180), scopes
	// separated by spaces.
	CSV Format = "csv"
	// Nango has Nango's connection objects, one a line or as one array.
	Nango Format = "nango"
)

// Item is one record of a file.
type Item struct {
	// Line is the line on which the record begins, from 1.
	Line int
	// Record is not to be used if Err, a [*FieldError], is set; then it has
	// what could be read of the user at the most.
	Record Record
	Err    error
	// Repeats is the earlier line with the very same record; 0 if there is
	// none.
	Repeats int
}

// Reader reads the records of a file one by one. It is not safe for concurrent
// use. Its memory does not grow with the file, but for some 32 bytes a record,
// by which it knows a user that comes again.
type Reader struct {
	next func() (Item, error)
	seed maphash.Seed
	seen map[uint64]earlier
}

// earlier is a record that was read before.
type earlier struct {
	line    uint32
	content uint32
}

// NewReader reads a file of that format. Its error is that the file as a whole
// cannot be one.
func NewReader(in io.Reader, format Format) (*Reader, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if err := skipMark(buffered); err != nil {
		return nil, fmt.Errorf("reading file: %w", err)
	}
	r := &Reader{seed: maphash.MakeSeed(), seen: make(map[uint64]earlier)}
	var err error
	switch format {
	case JSONLines:
		r.next = eachLine(newLines(buffered), ParseJSON)
	case CSV:
		r.next, err = newCSV(newLines(buffered))
	case Nango:
		r.next, err = newNango(buffered)
	default:
		err = fmt.Errorf("there is no format %q; use jsonl, csv or nango", format)
	}
	return r, err
}

// eachLine has a record in each line.
func eachLine(in *lines, parse func([]byte) (Record, error)) func() (Item, error) {
	return func() (Item, error) {
		line, tooLong, err := in.next()
		if err != nil {
			return Item{}, err
		}
		item := Item{Line: in.number}
		if tooLong {
			item.Err = &FieldError{Err: errLong}
			return item, nil
		}
		item.Record, item.Err = parse(line)
		return item, nil
	}
}

// Next returns the next record, also if it is broken, and io.EOF at the end.
// Another error is that the file cannot be read on.
func (r *Reader) Next() (Item, error) {
	item, err := r.next()
	if errors.Is(err, io.EOF) {
		return Item{}, io.EOF
	}
	if err != nil {
		return Item{}, fmt.Errorf("reading file: %w", err)
	}
	if item.Err == nil {
		r.compare(&item)
	}
	return item, nil
}

// compare finds a user that was there before. Which of two different records
// holds for a user is not decided here.
func (r *Reader) compare(item *Item) {
	encoded, err := item.Record.MarshalJSON()
	if err != nil {
		return
	}
	user := maphash.String(r.seed, item.Record.User)
	content := uint32(maphash.Bytes(r.seed, encoded)) //nolint:gosec // a part of the hash is enough
	before, again := r.seen[user]
	switch {
	case !again:
		r.seen[user] = earlier{uint32(item.Line), content} //nolint:gosec // files have fewer lines
	case before.content == content:
		item.Repeats = int(before.line)
	default:
		item.Err = wrong(FieldUser, "is on line %d already, with other values", before.line)
	}
}
