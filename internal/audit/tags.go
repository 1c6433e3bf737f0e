package audit

import (
	"context"
	"time"
)

// tags finds the tags of users on the goroutine that writes, so that a request
// never waits for one.
type tags struct {
	// known is a context that has ended: what needs no asking is found.
	known context.Context
	// pausedUntil is when a tag that is not known is searched for again.
	pausedUntil time.Time
}

func newTags() *tags {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &tags{known: ctx}
}

func (t *tags) resolve(batch []Entry) {
	for i := range batch {
		e := &batch[i]
		if e.UserTag == "" && e.User != "" && e.Tagger != nil {
			e.UserTag = t.find(e)
		}
	}
}

func (t *tags) find(e *Entry) string {
	tag := e.Tagger.Tag(t.known, e.User)
	if tag != UnknownTag || time.Now().Before(t.pausedUntil) {
		return tag
	}
	ctx, cancel := context.WithTimeout(context.Background(), tagTimeout)
	defer cancel()
	if tag = e.Tagger.Tag(ctx, e.User); tag == UnknownTag {
		t.pausedUntil = time.Now().Add(tagPause)
	}
	return tag
}
