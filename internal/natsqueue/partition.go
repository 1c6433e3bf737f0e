package natsqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// follow reads the headers of a partition's messages, those that are there and
// those that come.
func (s *session) follow(ctx context.Context, p int) error {
	if err := s.readRecords(ctx, p); err != nil {
		return err
	}
	err := s.read(ctx, s.q.names.partition(p), 0, func(e *entry) bool {
		s.arrived(e)
		return true
	}, func() {
		s.q.index.setLoaded(p)
		s.dropOrphans(ctx, p)
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("reading messages of partition %d: %w", p, err)
}

// readRecords has the records of a partition known that were written before.
func (s *session) readRecords(ctx context.Context, p int) error {
	watcher, err := s.state.Watch(ctx, record(p, "")[:len(record(p, ""))-1]+"*")
	if err != nil {
		return fmt.Errorf("reading records of partition %d: %w", p, err)
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case kv, ok := <-watcher.Updates():
			switch {
			case !ok:
				return fmt.Errorf("reading records of partition %d: %w", p, errEnded)
			case kv == nil:
				return nil
			}
			s.applyRecord(kv)
		}
	}
}

// arrived takes a message into the index, in the state that its record says.
func (s *session) arrived(e *entry) {
	if r, ok := s.record(record(e.partition(), e.ID)); ok && r.entry.Seq == e.Seq {
		e.state = r.entry.state
	}
	if !e.state.Dead {
		s.q.index.add(e)
	}
}

// dropOrphans removes records of messages that were done when their sidecar was
// killed.
func (s *session) dropOrphans(ctx context.Context, p int) {
	for _, e := range s.all(func(e *entry) bool { return !e.state.Dead && e.partition() == p }) {
		if s.q.index.has(e.ID) {
			continue
		}
		if _, err := s.stream.GetMsg(ctx, e.Seq); errors.Is(err, jetstream.ErrMsgNotFound) {
			_ = s.erase(ctx, record(p, e.ID))
		}
	}
}

// read calls found with the messages of a filter, from a sequence number on, until it
// returns false. With all those that are there it calls follow, and goes on with
// those that come; if follow is nil it ends.
func (s *session) read(ctx context.Context, filter string, from uint64, found func(*entry) bool, follow func()) error {
	consumer, err := s.consume(ctx, filter, from)
	if err != nil {
		return err
	}
	defer s.forget(consumer)
	last := uint64(0)
	take := func(msg jetstream.Msg) (bool, error) {
		meta, err := msg.Metadata()
		if err != nil {
			return false, err
		}
		if last++; meta.Sequence.Consumer != last {
			return false, fmt.Errorf("message %d of the consumer came after %d", meta.Sequence.Consumer, last-1)
		}
		e, err := fromHeader(msg.Headers(), meta.Sequence.Stream)
		if err != nil {
			s.q.logger.Error("a webhook cannot be read, and is left in the stream", "stream", s.q.names.stream, "error", err)
			return true, nil
		}
		return found(e), nil
	}
	if goOn, err := readStored(consumer, take); err != nil || !goOn || follow == nil {
		return err
	}
	follow()
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pulled))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		msg, err := messages.Next()
		if err != nil {
			return err
		}
		if goOn, err := take(msg); err != nil || !goOn {
			return err
		}
	}
}

// pulled is how many messages are asked for at a time.
const pulled = 500

// readStored calls take with the messages that are there. It does not count on any
// number of them, because others remove messages meanwhile.
func readStored(consumer jetstream.Consumer, take func(jetstream.Msg) (bool, error)) (goOn bool, err error) {
	// In a cluster a new consumer has nobody who answers at first.
	for began := time.Now(); ; {
		n, err := readBatch(consumer, take)
		switch {
		case errors.Is(err, nats.ErrNoResponders) && time.Since(began) < electionWait:
			time.Sleep(20 * time.Millisecond)
		case errors.Is(err, errEnough):
			return false, nil
		case err != nil || n == 0:
			return err == nil, err
		}
	}
}

// electionWait is how long a consumer may have nobody who answers.
const electionWait = 3 * time.Second

// errEnough means that no more is to be read.
var errEnough = errors.New("enough was read")

func readBatch(consumer jetstream.Consumer, take func(jetstream.Msg) (bool, error)) (n int, err error) {
	batch, err := consumer.FetchNoWait(pulled)
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() {
		n++
		goOn, err := take(msg)
		if err == nil && !goOn {
			err = errEnough
		}
		if err != nil {
			return n, err
		}
	}
	return n, batch.Error()
}

// consume makes a consumer of the headers of messages.
func (s *session) consume(ctx context.Context, filter string, from uint64) (jetstream.Consumer, error) {
	config := jetstream.ConsumerConfig{
		FilterSubject: filter, AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true,
		DeliverPolicy: jetstream.DeliverAllPolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	}
	if from > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	consumer, err := s.js.CreateConsumer(ctx, s.q.names.stream, config)
	if err != nil {
		return nil, fmt.Errorf("making consumer: %w", err)
	}
	return consumer, nil
}

// forget has the server remove a consumer, and does not wait for it: it would go by
// itself a minute later.
func (s *session) forget(consumer jetstream.Consumer) {
	_ = s.conn.Publish(fmt.Sprintf("$JS.API.CONSUMER.DELETE.%s.%s", s.q.names.stream, consumer.CachedInfo().Name), nil)
}
