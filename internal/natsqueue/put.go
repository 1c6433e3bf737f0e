package natsqueue

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

const (
	// maxBatch is how many messages the server takes in one atomic batch
	// (max_batch_size of its configuration, 1000 if it is not set).
	maxBatch = 1000
	// maxGrouped is from when on no further calls are put into one batch.
	maxGrouped = 300
)

// putRequest is a call of Put.
type putRequest struct {
	ctx      context.Context
	messages []webhookqueue.Message
	receipt  webhookqueue.Receipt
	done     chan error
}

// Put implements [webhookqueue.Queue].
func (q *Queue) Put(ctx context.Context, messages []webhookqueue.Message) (webhookqueue.Receipt, error) {
	// It ends in time, whatever the server does.
	bounded, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	r := &putRequest{ctx: bounded, messages: messages, done: make(chan error, 1)}
	err := ctx.Err()
	if err == nil {
		select {
		case q.puts <- r:
			select {
			case err = <-r.done:
			case <-bounded.Done():
				err = bounded.Err()
			}
		case <-bounded.Done():
			err = bounded.Err()
		case <-q.ctx.Done():
			err = webhookqueue.ErrClosed
		}
	}
	if err != nil {
		return webhookqueue.Receipt{}, fmt.Errorf("storing webhooks in NATS: %w", q.reason(ctx, err))
	}
	return r.receipt, nil
}

// commit stores what is put: what comes while one batch is under way goes into the
// next, all together.
func (q *Queue) commit() {
	w := writer{q: q}
	for {
		select {
		case <-q.ctx.Done():
			return
		case r := <-q.puts:
			group := []*putRequest{r}
			for n := len(r.messages); n < maxGrouped; {
				select {
				case r := <-q.puts:
					group = append(group, r)
					n += len(r.messages)
					continue
				default:
				}
				break
			}
			w.store(group)
		}
	}
}

// writer stores messages. It is for one goroutine.
type writer struct {
	q     *Queue
	cache seenCache
	s     *session // of which the cache is
	full  bool     // the server has refused messages for want of room
}

// store stores the messages of several calls, and answers these.
func (w *writer) store(group []*putRequest) {
	ctx, cancel := context.WithTimeout(w.q.ctx, putTimeout)
	defer cancel()
	s, err := w.q.ready(ctx)
	if err == nil && s != w.s {
		w.s, w.cache = s, seenCache{} // the stream may be another
	}
	for attempt := 0; err == nil; attempt++ {
		var b *batch
		if b, err = w.collect(s, group); err != nil {
			break
		}
		if err = w.publish(ctx, s, b); !errors.Is(err, errChanged) {
			break
		}
		if err = w.refresh(ctx, s, b); err == nil && attempt > 0 {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(mathrand.N(time.Millisecond << min(attempt, 6))):
			}
		}
	}
	if len(group) > 1 && (errors.Is(err, errRefused) || errors.Is(err, webhookqueue.ErrFull)) {
		// One is too large for all.
		for i := range group {
			w.store(group[i : i+1])
		}
		return
	}
	for _, r := range group {
		r.done <- err
	}
}

// batch is what is published at once.
type batch struct {
	messages []*nats.Msg
	bytes    int64
	seconds  []uint32 // of the keys, which are the last of messages
	seen     map[uint32]seen
}

// collect makes the batch of several calls, as the keys are now known.
func (w *writer) collect(s *session, group []*putRequest) (*batch, error) {
	now := time.Now()
	b := &batch{seen: make(map[uint32]seen)}
	fresh := make(map[uint32][]webhookqueue.Key)
	known := make(map[webhookqueue.Key]bool)
	duplicates := 0
	drop := func(k webhookqueue.Key) bool {
		if known[k] || w.cache.get(secondOf(k)).has(k, now) {
			duplicates++
			return true
		}
		known[k] = true
		fresh[secondOf(k)] = append(fresh[secondOf(k)], k)
		return false
	}
	for _, r := range group {
		r.receipt, duplicates = webhookqueue.Receipt{}, 0
		if r.ctx.Err() != nil {
			continue
		}
		for _, m := range r.messages {
			m, left := m.Without(drop)
			if !left {
				continue
			}
			msg, err := toNATS(w.q.names, m, s.conn.MaxPayload())
			if err != nil {
				return nil, err
			}
			b.add(msg)
			r.receipt.Messages++
			r.receipt.Events += len(m.Events)
		}
		r.receipt.Duplicates = duplicates
	}
	for second, keys := range fresh {
		b.addSeen(w.q.names, second, w.cache.get(second).with(keys, now))
	}
	if len(b.messages) > maxBatch {
		return nil, fmt.Errorf("%w: %d in one call, with their keys, are more than %d", errRefused, len(b.messages), maxBatch)
	}
	return b, nil
}

func (b *batch) add(msg *nats.Msg) {
	b.messages = append(b.messages, msg)
	b.bytes += int64(msg.Size())
}

func (b *batch) addSeen(n names, second uint32, s seen) {
	msg := nats.NewMsg(n.seen(second))
	msg.Data = s.encode()
	msg.Header.Set(jetstream.MsgTTLHeader, strconv.Itoa(int(seenTTL.Seconds())))
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(s.seq, 10))
	b.add(msg)
	b.seconds = append(b.seconds, second)
	b.seen[second] = s
}

// errChanged means that the keys are not what they were when they were read.
var errChanged = errors.New("somebody else wrote the same keys")

// publish stores a batch.
func (w *writer) publish(ctx context.Context, s *session, b *batch) error {
	if len(b.messages) == 0 {
		return nil
	}
	if err := w.room(ctx, s, b); err != nil {
		return err
	}
	last, err := publishBatch(ctx, s.conn, b.messages)
	if err == nil {
		for i, second := range b.seconds {
			stored := b.seen[second]
			stored.seq = last - uint64(len(b.seconds)-1-i)
			w.cache.set(second, stored)
		}
		return nil
	}
	// It may have been stored all the same.
	for _, second := range b.seconds {
		w.cache.forget(second)
	}
	w.full = errors.Is(err, webhookqueue.ErrFull)
	return err
}

// room refuses what the server would refuse, as long as it has not much more room
// than when it did.
func (w *writer) room(ctx context.Context, s *session, b *batch) error {
	if !w.full {
		return nil
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return err
	}
	size := info.Config.MaxBytes
	if size > 0 && int64(info.State.Bytes)+b.bytes+size/32 > size {
		return fmt.Errorf("%w: stream %s has %d bytes of %d", webhookqueue.ErrFull, w.q.names.stream, info.State.Bytes, size)
	}
	w.full = false
	return nil
}

// refresh reads the keys of the seconds of a batch.
func (w *writer) refresh(ctx context.Context, s *session, b *batch) error {
	for _, second := range b.seconds {
		msg, err := s.stream.GetLastMsgForSubject(ctx, w.q.names.seen(second))
		switch {
		case err == nil:
			w.cache.set(second, decodeSeen(msg.Sequence, msg.Data))
		case errors.Is(err, jetstream.ErrMsgNotFound):
			w.cache.forget(second)
		default:
			return fmt.Errorf("reading keys of events: %w", err)
		}
	}
	return nil
}

// The headers of an atomic batch, of which the client's library has none; see
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md.
const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
)

// publishBatch stores messages, all of them or none, and returns the sequence number
// of the last.
func publishBatch(ctx context.Context, conn *nats.Conn, messages []*nats.Msg) (last uint64, err error) {
	id := rand.Text()
	for i, msg := range messages {
		if len(messages) > 1 {
			msg.Header.Set(batchID, id)
			msg.Header.Set(batchSequence, strconv.Itoa(i+1))
		}
		if i == len(messages)-1 {
			break
		}
		if err := conn.PublishMsg(msg); err != nil {
			return 0, err
		}
	}
	final := messages[len(messages)-1]
	if len(messages) > 1 {
		final.Header.Set(batchCommit, "1")
	}
	answer, err := conn.RequestMsgWithContext(ctx, final)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Sequence uint64              `json:"seq"`
		Error    *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("reading NATS's answer: %w", err)
	}
	if ack.Error != nil {
		return 0, meaning(ack.Error)
	}
	return ack.Sequence, nil
}

// meaning makes one of the package's errors of one of JetStream's; see errors.json
// in the source of nats-server.
func meaning(err *jetstream.APIError) error {
	switch err.ErrorCode {
	case 10071, 10164: // wrong last sequence
		return errChanged
	case 10002, 10023, 10047, 10077: // of the account, the server, its storage; the stream, or its disk
		return fmt.Errorf("%w: %w", webhookqueue.ErrFull, err)
	}
	return err
}
