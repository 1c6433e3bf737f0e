package natsqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// recorded is a record as it was when it had that revision.
type recorded struct {
	revision uint64
	gone     bool
	entry    *entry // is not changed
}

// records are those of all partitions, as far as this session knows.
type records struct {
	mu    sync.Mutex
	known map[string]recorded // by key
}

// document is a record as it is stored.
type document struct {
	Entry *entry `json:"message"`
	State state  `json:"state"`
}

// watchRecords reads all records, and follows them.
func (s *session) watchRecords(ctx context.Context) error {
	return s.watch(ctx, s.state, s.applyRecord)
}

// applyRecord takes note of a record that somebody wrote.
func (s *session) applyRecord(kv jetstream.KeyValueEntry) {
	r := recorded{revision: kv.Revision(), gone: kv.Operation() != jetstream.KeyValuePut}
	if !r.gone {
		var d document
		if err := json.Unmarshal(kv.Value(), &d); err != nil || d.Entry == nil {
			s.q.logger.Error("a record of webhooks is damaged", "key", kv.Key(), "error", err)
			return
		}
		r.entry = d.Entry
		r.entry.state = d.State
	}
	s.learn(kv.Key(), r)
}

// learn takes note of a record, unless a newer one is known.
func (s *session) learn(key string, r recorded) {
	s.records.mu.Lock()
	before := s.records.known[key]
	if before.revision >= r.revision {
		s.records.mu.Unlock()
		return
	}
	s.records.known[key] = r
	if r.gone {
		delete(s.records.known, key)
	}
	revived := before.entry != nil && before.entry.state.Dead && r.entry != nil && !r.entry.state.Dead
	s.records.mu.Unlock()
	if revived {
		e := *r.entry
		s.q.index.add(&e)
	}
}

// record returns what is known of a message's record.
func (s *session) record(key string) (recorded, bool) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	r, ok := s.records.known[key]
	return r, ok && !r.gone
}

// find returns the key of the record of a message whose partition is not known.
func (s *session) find(id string) (key string, r recorded, ok bool) {
	for p := range partitions {
		if r, ok := s.record(record(p, id)); ok {
			return record(p, id), r, true
		}
	}
	return "", recorded{}, false
}

// all returns the records for which is holds.
func (s *session) all(is func(*entry) bool) (found []*entry) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	for _, r := range s.records.known {
		if !r.gone && is(r.entry) {
			found = append(found, r.entry)
		}
	}
	return found
}

func isDead(e *entry) bool { return e.state.Dead }

// write stores a record; at is the revision that has to be there, or nil.
func (s *session) write(ctx context.Context, e entry, at *uint64) error {
	value, err := json.Marshal(document{Entry: &e, State: e.state})
	if err != nil {
		return fmt.Errorf("encoding record: %w", err)
	}
	key := record(e.partition(), e.ID)
	var revision uint64
	if at != nil {
		revision, err = s.state.Update(ctx, key, value, *at)
	} else {
		revision, err = s.state.Put(ctx, key, value)
	}
	if err != nil {
		return err
	}
	s.learn(key, recorded{revision: revision, entry: &e})
	return nil
}

// erase removes a record, if there is one. The watch of it takes note.
func (s *session) erase(ctx context.Context, key string) error {
	r, ok := s.record(key)
	if !ok {
		return nil
	}
	if err := s.state.Purge(ctx, key, jetstream.PurgeTTL(markerTTL)); err != nil {
		return err
	}
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	if now := s.records.known[key]; now.revision == r.revision {
		// Not deleted, so that what the watch is late with is not taken for new.
		s.records.known[key] = recorded{revision: r.revision, gone: true}
	}
	return nil
}

// removeMessage removes a message from the stream, if it is there.
func (s *session) removeMessage(ctx context.Context, seq uint64) error {
	err := s.stream.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		// The client does not say why.
		if _, gone := s.stream.GetMsg(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
			return nil
		}
	}
	return err
}
