package relay

import "io"

// minMasking is the least buffer that is read into directly.
const minMasking = 4 << 10

// maskingReader covers tokens in what it reads, without changing the length of
// it. It holds back no more than what may be the beginning of a token.
type maskingReader struct {
	inner io.Reader
	mask  *mask
	// found is told the number of tokens that were covered.
	found func(n int)

	// held is the beginning of a token, perhaps.
	held []byte
	// spare is read into for clients whose own buffer is too small, and
	// ready is what is left of it; err follows it.
	spare []byte
	ready []byte
	err   error
}

// Read implements [io.Reader].
func (r *maskingReader) Read(p []byte) (int, error) {
	least := max(minMasking, 2*r.mask.longest())
	if len(r.ready) == 0 && r.err == nil && len(p) >= least {
		return r.fill(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.ready) == 0 && r.err == nil {
		if r.spare == nil {
			r.spare = make([]byte, least)
		}
		var n int
		n, r.err = r.fill(r.spare)
		r.ready = r.spare[:n]
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	if len(r.ready) > 0 {
		return n, nil
	}
	return n, r.err
}

// fill reads into buffer, which is larger than what can be held.
func (r *maskingReader) fill(buffer []byte) (int, error) {
	n := copy(buffer, r.held)
	r.held = r.held[:0]
	for {
		got, err := r.inner.Read(buffer[n:])
		n += got
		if covered := r.mask.cover(buffer[:n]); covered > 0 {
			r.found(covered)
		}
		if err != nil {
			return n, err
		}
		begun := r.mask.begun(buffer[:n])
		if begun > 0 || got == 0 {
			r.held = append(r.held, buffer[begun:n]...)
			return begun, nil
		}
	}
}
