package importfile

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine is the longest line, or element of an array, in bytes.
const maxLine = 1 << 20

// lines reads lines of a bounded length, without their ends, which may be
// those of Windows. A byte order mark at the very beginning is passed over.
type lines struct {
	in *bufio.Reader
	// number is that of the line that was read last, from 1.
	number int
	buffer []byte
}

func newLines(in *bufio.Reader) *lines {
	return &lines{in: in}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// skipMark passes over a byte order mark.
func skipMark(in *bufio.Reader) error {
	begin, err := in.Peek(len(byteOrderMark))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.Equal(begin, byteOrderMark) {
		_, err = in.Discard(len(byteOrderMark))
		return err
	}
	return nil
}

// next returns the next line that is not blank; it is valid until the next
// call. tooLong says that there is more of it, which was passed over. At the
// end err is io.EOF.
func (l *lines) next() (line []byte, tooLong bool, err error) {
	for {
		line, tooLong, err = l.read()
		if err != nil {
			return nil, false, err
		}
		if tooLong || len(bytes.TrimSpace(line)) > 0 {
			return line, tooLong, nil
		}
	}
}

func (l *lines) read() (line []byte, tooLong bool, err error) {
	l.buffer = l.buffer[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		if len(l.buffer)+len(part) > maxLine+len("\r\n") {
			tooLong = true
		} else {
			l.buffer = append(l.buffer, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(l.buffer) == 0 && !tooLong:
			return nil, false, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, false, err
		}
		l.number++
		line = bytes.TrimSuffix(l.buffer, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), tooLong, nil
	}
}
