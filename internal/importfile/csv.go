package importfile

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// newCSV reads CSV (RFC 4180) with a header. A value of ours never holds a line
// break, so that each line is a record: a quote that is not closed costs one
// line and not the rest of the file.
func newCSV(in *lines) (func() (Item, error), error) {
	line, tooLong, err := in.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty; its first line has to name the columns, as in: userForeignIdentifier,refreshToken,hubId")
	case err != nil:
		return nil, fmt.Errorf("reading file: %w", err)
	case tooLong:
		return nil, fmt.Errorf("line %d %w", in.number, errLong)
	}
	columns, err := splitCSV(line)
	if err != nil {
		return nil, fmt.Errorf("line %d, the names of the columns: %w", in.number, err)
	}
	if err := checkColumns(columns); err != nil {
		return nil, fmt.Errorf("line %d, the names of the columns: %w", in.number, err)
	}
	return eachLine(in, func(line []byte) (Record, error) { return parseCSV(columns, line) }), nil
}

func checkColumns(columns []string) error {
	for i, name := range columns {
		if !slices.Contains(fieldNames, name) {
			return fmt.Errorf("%s is none; there are %s", apierror.Quoted(name), strings.Join(fieldNames, ", "))
		}
		if slices.Contains(columns[:i], name) {
			return fmt.Errorf("%s is there twice", name)
		}
	}
	if !slices.Contains(columns, FieldUser) {
		return fmt.Errorf("%s is missing", FieldUser)
	}
	return nil
}

func parseCSV(columns []string, line []byte) (Record, error) {
	if !utf8.Valid(line) {
		return Record{}, wrong("", "is not UTF-8")
	}
	values, err := splitCSV(line)
	switch {
	case err != nil:
		return Record{}, &FieldError{Err: err}
	case len(values) != len(columns):
		return Record{}, wrong("", "has %d values for %d columns", len(values), len(columns))
	}
	var r Record
	for i, name := range columns {
		if err := r.set(name, values[i]); err != nil {
			return Record{}, err
		}
	}
	return r, r.check()
}

// splitCSV reads one line. The errors of encoding/csv have numbers of lines and
// columns of their own.
func splitCSV(line []byte) ([]string, error) {
	in := csv.NewReader(strings.NewReader(string(line)))
	in.FieldsPerRecord = -1
	values, err := in.Read()
	parse, _ := errors.AsType[*csv.ParseError](err)
	switch {
	case err == nil:
		return values, nil
	case parse != nil && errors.Is(parse.Err, csv.ErrBareQuote):
		return nil, errors.New("has a quote in a value that does not begin with one")
	case parse != nil && errors.Is(parse.Err, csv.ErrQuote):
		return nil, errors.New("has a quote that is not closed on its line, or something behind a closed one")
	}
	return nil, errors.New("is not CSV")
}
