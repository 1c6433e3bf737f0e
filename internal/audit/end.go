package audit

import (
	"bytes"
	"errors"
	"io"
)

// maxEnd is how much of the end of a file is searched for its last line. A
// crash of the machine can leave what was written in the second before.
const maxEnd = 8 << 20

// end is what stands at the end of a file.
type end struct {
	// head is that of the last whole line; zero if there is none.
	head Head
	// open is set if nothing but its line feed is missing.
	open bool
	// torn are the bytes behind it.
	torn Torn
}

var errNotAuditLog = errors.New("it does not end with lines of an audit log; move it away, or name another file")

// readEnd finds the last whole line of a file.
func readEnd(f io.ReaderAt, size int64) (end, error) {
	from := max(0, size-maxEnd)
	buffer := make([]byte, size-from)
	if _, err := f.ReadAt(buffer, from); err != nil && !errors.Is(err, io.EOF) {
		return end{}, withoutPath(err)
	}
	for after := len(buffer); after > 0; {
		begin := bytes.LastIndexByte(buffer[:after], '\n') + 1
		if line, ok := parseLine(buffer[begin:after]); ok {
			rest := bytes.TrimPrefix(buffer[after:], []byte("\n"))
			return end{head: line.head(), open: after == len(buffer), torn: tornOf(rest)}, nil
		}
		after = begin - 1
	}
	// Without a line it can be one that was torn when it was the first.
	if from > 0 || size > 0 && !bytes.HasPrefix(buffer, []byte(lineBegin)[:min(len(buffer), len(lineBegin))]) {
		return end{}, errNotAuditLog
	}
	return end{torn: tornOf(buffer)}, nil
}

func tornOf(content []byte) Torn {
	if len(content) == 0 {
		return Torn{}
	}
	return Torn{Bytes: int64(len(content)), SHA256: hashOf(content)}
}
