package relay

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// keeping is a call that keeps bodies within a budget.
func keeping(budget *Budget) *Call { return &Call{relay: &Relay{Config: Config{Budget: budget}}} }

// TestClosedBodyIsThereForAnotherTry has a try end before the body was read.
func TestClosedBodyIsThereForAnotherTry(t *testing.T) {
	t.Parallel()
	closed := false
	r := &http.Request{Body: &closeNoter{Reader: strings.NewReader("content"), closed: &closed}, ContentLength: 7}
	body := keeping(NewBudget(DefaultBudget)).keepBody(r)
	_ = r.Body.Close()
	next, ok := body.again(false)
	if !ok || closed {
		t.Fatal("the body is gone")
	}
	if _, ok := body.again(true); ok {
		t.Error("a request that may have left can be sent again without its body")
	}
	text, err := io.ReadAll(next)
	if string(text) != "content" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	_ = next.Close()
	next, ok = body.again(true)
	if text, _ = io.ReadAll(next); !ok || string(text) != "content" || !closed {
		t.Errorf("the third time: %q", text)
	}
}

type closeNoter struct {
	io.Reader
	closed *bool
}

func (c *closeNoter) Close() error {
	*c.closed = true
	return nil
}

// Bodies are kept as long as the budget lasts, and all of it comes back.
func TestKeptBodiesAreBudgeted(t *testing.T) {
	t.Parallel()
	budget := NewBudget(100_000)
	read := func(size int, announced bool) *keptBody {
		t.Helper()
		r := &http.Request{Body: io.NopCloser(strings.NewReader(strings.Repeat("x", size))), ContentLength: -1}
		if announced {
			r.ContentLength = int64(size)
		}
		body := keeping(budget).keepBody(r)
		if n, err := io.Copy(io.Discard, r.Body); n != int64(size) || err != nil {
			t.Fatalf("%d bytes of %d, %v", n, size, err)
		}
		return body
	}
	var all []*keptBody
	for i, tc := range []struct {
		size            int
		announced, kept bool
	}{
		{60_000, true, true},
		{60_000, true, false},
		{60_000, false, false},
		{10_000, false, true},
		{maxKept + 1, true, false},
		{maxKept + 1, false, false},
	} {
		body := read(tc.size, tc.announced)
		all = append(all, body)
		next, ok := body.again(true)
		if ok != tc.kept {
			t.Errorf("body %d is kept: %v", i, ok)
		}
		if ok {
			if text, err := io.ReadAll(next); len(text) != tc.size || err != nil {
				t.Errorf("body %d: %d bytes again, %v", i, len(text), err)
			}
		}
	}
	for _, body := range all {
		body.forget()
		if _, ok := body.again(true); ok {
			t.Error("a forgotten body is there again")
		}
	}
	if left := budget.left; left != 100_000 || len(budget.held) != 0 {
		t.Errorf("%d bytes are left of the budget", left)
	}
}

// What a try has left in the middle can be read on for the next.
func TestHalfABodyIsThereForAnotherTry(t *testing.T) {
	t.Parallel()
	closed := false
	r := &http.Request{Body: &closeNoter{Reader: strings.NewReader("content"), closed: &closed}, ContentLength: 7}
	body := keeping(NewBudget(DefaultBudget)).keepBody(r)
	_, _ = io.ReadFull(r.Body, make([]byte, 3))
	_ = r.Body.Close()
	if _, ok := body.again(true); ok || closed {
		t.Errorf("half a body is there again, or closed: %v", closed)
	}
	body.readRest()
	next, ok := body.again(true)
	if text, _ := io.ReadAll(next); !ok || string(text) != "content" {
		t.Errorf("got %q", text)
	}
	if _ = r.Body.Close(); !closed {
		t.Error("the body stays open")
	}
	body.forget()
	if _, ok := body.again(true); ok {
		t.Error("a forgotten body is there again")
	}
	// One that cannot be kept is not read in vain.
	r = &http.Request{Body: io.NopCloser(strings.NewReader(strings.Repeat("x", maxKept+1))), ContentLength: maxKept + 1}
	body = keeping(NewBudget(DefaultBudget)).keepBody(r)
	_, _ = io.ReadFull(r.Body, make([]byte, 3))
	body.readRest()
	if rest, _ := io.ReadAll(r.Body); len(rest) != maxKept-2 {
		t.Errorf("%d bytes are left", len(rest))
	}
}
