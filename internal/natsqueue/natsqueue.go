// Package natsqueue keeps webhooks in NATS JetStream, for several sidecars that
// take and deliver them together.
//
// A message is one message of a stream, under a subject of its own; it is removed
// when it is done. Messages and the keys of their events are published as one
// atomic batch, with the expectation that nobody else has written the keys since
// they were read: so all of a Put is there or none of it, and of two sidecars that
// are sent the same event one takes it. That needs NATS 2.12.1.
//
// What changes while a message waits (failed attempts, whether it is dead) is a
// record in a key-value bucket, beside the stream, so that it can be written when
// the stream is full. Every step is one write: whatever is killed between two, no
// message is lost.
//
// Portals are spread over [partitions]. A partition has one owner among the
// sidecars, who holds a lease on it in a second bucket, knows its messages by their
// headers, and hands them out: so lanes and the limit per portal hold among all. A
// lease is renewed as long as the sidecar runs, and ends by itself when it is gone.
// Consumers with acknowledgements, which JetStream has too, know no lanes; and what a
// portal has to be tried later would be pending with them and, beyond
// max_ack_pending, keep all others waiting.
package natsqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

const (
	// partitions is how many parts the portals are spread over, and so the
	// largest number of sidecars that deliver at a time. Sidecars on one stream
	// have to agree on it.
	partitions = 16
	// defaultLease is how long the portals of a sidecar that was killed wait
	// for another.
	defaultLease = 10 * time.Second
	// defaultMaxBytes is the size of a stream that is made.
	defaultMaxBytes = 1 << 30
	// readyWait is how long a call waits for a connection, putTimeout what Put
	// may take in all, because HubSpot gives up after 5 s, and callTimeout what
	// others may take with a connection.
	readyWait   = 2 * time.Second
	putTimeout  = 3500 * time.Millisecond
	callTimeout = 15 * time.Second
)

// Config is where the messages are, and how they are kept.
type Config struct {
	// URLs are the servers of one cluster: nats:// or tls://. Required.
	URLs []string
	// Stream is the name of the stream. The buckets are called after it, with
	// _STATE and _OWNERS behind. Required.
	Stream string
	// Subject is what all subjects of the stream begin with. Required.
	Subject string
	// MaxBytes bounds the stream: messages, dead letters, and the keys of the
	// last day's events. 0 is 1 GiB for a stream that is made, and leaves that
	// of one that is there.
	MaxBytes int64
	// Replicas is how many servers keep the stream that is made. 0 means 1.
	Replicas int

	// CredentialsFile is a file of NATS's with a user's JWT and seed. It is
	// read for each connection.
	CredentialsFile string
	// User and Password, or Token, are an alternative.
	User     string
	Password secret.Text
	Token    secret.Text
	TLS      TLS

	// Lease is how long what a sidecar had waits for another when it was
	// killed. 0 means 10 s. Sidecars on one stream have to agree on it.
	Lease time.Duration
	// Logger is for what operators need to know. Required.
	Logger *slog.Logger
}

// TLS are files, in PEM, that are read for each connection.
type TLS struct {
	// CAFile holds the authorities that may have signed a server's
	// certificate. Empty means those of the system.
	CAFile string
	// ClientCertFile and ClientKeyFile are what is shown to the server.
	ClientCertFile, ClientKeyFile string
}

// Queue implements [webhookqueue.Queue].
type Queue struct {
	names    names
	lease    time.Duration
	logger   *slog.Logger
	instance string // names this queue among those on the stream

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	// killed is set by tests, to leave the leases as they are.
	killed bool

	puts  chan *putRequest
	index *index

	mu      sync.Mutex
	config  Config
	current *session      // nil while there is none
	session *session      // the current one, if it is ready
	changed chan struct{} // closed when session changes
	why     error         // why there is none
}

var _ webhookqueue.Queue = (*Queue)(nil)

// Open starts a queue, and returns before it is connected. An error is one of
// [Config.Check].
func Open(config Config) (*Queue, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	q := &Queue{
		names: namesOf(config), lease: cmp.Or(config.Lease, defaultLease), logger: config.Logger,
		instance: uuid.NewString(), ctx: ctx, cancel: cancel, puts: make(chan *putRequest),
		index: newIndex(), config: config, changed: make(chan struct{}),
	}
	q.work.Go(q.connect)
	q.work.Go(q.commit)
	return q, nil
}

// Configure has the queue go on with other settings, on a new connection. Stream,
// subject, lease and logger stay; an error is one of [Config.Check].
func (q *Queue) Configure(config Config) error {
	if err := config.Check(); err != nil {
		return err
	}
	if namesOf(config) != q.names {
		return errors.New("stream and subject cannot be changed while the queue is open")
	}
	config.Lease, config.Logger = q.lease, q.logger
	q.mu.Lock()
	defer q.mu.Unlock()
	q.config, q.session = config, nil
	if q.current != nil {
		q.current.cancel(errConfigured)
	}
	return nil
}

// errConfigured ends a session of other settings.
var errConfigured = errors.New("the settings have changed")

// begin makes the session of the settings that the queue has now.
func (q *Queue) begin() *session {
	ctx, cancel := context.WithCancelCause(q.ctx)
	s := &session{q: q, ctx: ctx, cancel: cancel}
	s.records.known = make(map[string]recorded)
	q.mu.Lock()
	defer q.mu.Unlock()
	s.config = q.config
	q.current = s
	return s
}

// Close gives the leases back and ends the connection.
func (q *Queue) Close() error {
	q.cancel()
	q.work.Wait()
	return nil
}

// setSession says which session is ready, or why there is none.
func (q *Queue) setSession(s *session, why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s != nil && s.ctx.Err() != nil {
		s = nil // it has ended already
	}
	q.session, q.why = s, why
	close(q.changed)
	q.changed = make(chan struct{})
}

// ready waits for a session, for no longer than readyWait.
func (q *Queue) ready(ctx context.Context) (*session, error) {
	timer := time.NewTimer(readyWait)
	defer timer.Stop()
	for {
		q.mu.Lock()
		s, changed, why := q.session, q.changed, q.why
		q.mu.Unlock()
		switch {
		case q.ctx.Err() != nil:
			return nil, webhookqueue.ErrClosed
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case s != nil:
			return s, nil
		}
		select {
		case <-changed:
		case <-q.ctx.Done():
		case <-ctx.Done():
		case <-timer.C:
			return nil, unavailable(why)
		}
	}
}

func unavailable(why error) error {
	if why == nil {
		return webhookqueue.ErrUnavailable
	}
	return fmt.Errorf("%w: %w", webhookqueue.ErrUnavailable, why)
}

// call calls f with a session and a context that ends in time, and says what was
// done if it fails.
func (q *Queue) call(ctx context.Context, doing string, f func(context.Context, *session) error) error {
	s, err := q.ready(ctx)
	if err == nil {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err = f(bounded, s)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, q.reason(ctx, err))
}

// reason makes one of the package's errors of one of NATS's.
func (q *Queue) reason(ctx context.Context, err error) error {
	switch {
	case q.ctx.Err() != nil:
		return webhookqueue.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, webhookqueue.ErrNotFound), errors.Is(err, webhookqueue.ErrFull),
		errors.Is(err, webhookqueue.ErrUnavailable), errors.Is(err, errRefused):
		return err
	}
	return unavailable(err)
}

// errRefused means that the server will never take a message.
var errRefused = errors.New("NATS does not take the message")
