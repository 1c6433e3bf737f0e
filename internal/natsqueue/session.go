package natsqueue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	dialTimeout  = 2 * time.Second
	setupTimeout = 6 * time.Second // a cluster may be choosing a leader, and answers nothing
	maxPause     = time.Second
)

// session is what hangs on one connection. When the connection breaks the session
// ends and another begins; leases that have not ended by then go on.
type session struct {
	q      *Queue
	config Config
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	state  jetstream.KeyValue
	owners jetstream.KeyValue

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup
	// refuse ends the preparations, with what is not permitted.
	refuse context.CancelCauseFunc

	records records
}

// connect has one session after the other until the queue is closed.
func (q *Queue) connect() {
	pause := 50 * time.Millisecond
	told := ""
	for q.ctx.Err() == nil {
		began := time.Now()
		err := q.serve(func() {
			q.logger.Info("webhooks are kept in NATS", "stream", q.names.stream)
			told = ""
		})
		if q.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errConfigured) {
			continue
		}
		if err.Error() != told {
			told = err.Error()
			q.logger.Error("NATS does not keep webhooks at present", "stream", q.names.stream, "error", err)
		}
		q.setSession(nil, err)
		if time.Since(began) > 10*time.Second {
			pause = 50 * time.Millisecond
		}
		select {
		case <-q.ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, maxPause)
	}
}

// serve has one session, and returns why it ended.
func (q *Queue) serve(ready func()) error {
	s := q.begin()
	defer s.cancel(nil)
	preparing, refuse := context.WithCancelCause(s.ctx)
	defer refuse(nil)
	s.refuse = refuse
	if err := s.dial(); err != nil {
		return err
	}
	defer s.conn.Close()
	defer s.work.Wait()
	defer s.cancel(nil)
	if err := s.prepare(preparing); err != nil {
		return err
	}
	leases := newLeases(s)
	defer leases.end()
	if err := leases.watch(); err != nil {
		return err
	}
	q.setSession(s, nil)
	ready()
	err := leases.run()
	if s.conn.IsClosed() && !errors.Is(err, errConfigured) {
		err = s.disconnected() // whoever noticed it first
	}
	q.setSession(nil, err)
	return err
}

// dial connects, and has the session end with the connection.
func (s *session) dial() error {
	c := &s.config
	options := []nats.Option{
		nats.Name("caddy-hubspot"), nats.Timeout(dialTimeout), nats.NoReconnect(),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ClosedHandler(func(*nats.Conn) { s.cancel(nats.ErrConnectionClosed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			// What is not permitted is answered nowhere else.
			s.q.logger.Warn("NATS refuses", "stream", s.q.names.stream, "error", err)
			if errors.Is(err, nats.ErrPermissionViolation) {
				s.refuse(err)
			}
		}),
	}
	if secured, err := c.TLS.config(); err != nil {
		return err
	} else if secured != nil {
		options = append(options, nats.Secure(secured))
	}
	switch {
	case c.CredentialsFile != "":
		options = append(options, nats.UserCredentials(c.CredentialsFile))
	case !c.Token.IsZero():
		options = append(options, nats.Token(c.Token.Reveal()))
	case c.User != "":
		options = append(options, nats.UserInfo(c.User, c.Password.Reveal()))
	}
	conn, err := nats.Connect(strings.Join(c.URLs, ","), options...)
	if err != nil {
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	s.conn = conn
	s.js, err = jetstream.New(conn)
	return err
}

// disconnected says why the connection ended.
func (s *session) disconnected() error {
	err := s.conn.LastError()
	if err == nil {
		err = nats.ErrConnectionClosed
	}
	return fmt.Errorf("the connection to NATS broke: %w", err)
}

// prepare finds or makes the stream and the buckets.
func (s *session) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if err := checkVersion(s.conn.ConnectedServerVersion()); err != nil {
		return err
	}
	var err error
	if s.stream, err = s.ensureStream(ctx); err != nil {
		return err
	}
	if s.state, err = s.ensureBucket(ctx, stateBucket(&s.config)); err != nil {
		return err
	}
	if s.owners, err = s.ensureBucket(ctx, ownersBucket(&s.config)); err != nil {
		return err
	}
	return s.watchRecords(ctx)
}

// watch calls apply with every entry of a bucket that there is and will be, in one
// goroutine after the first are applied. It ends with the session, and the session
// with it.
func (s *session) watch(ctx context.Context, bucket jetstream.KeyValue, apply func(jetstream.KeyValueEntry)) error {
	watcher, err := bucket.WatchAll(s.ctx)
	if err != nil {
		return fmt.Errorf("watching bucket %s: %w", bucket.Bucket(), err)
	}
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("watching bucket %s: %w", bucket.Bucket(), context.Cause(ctx))
		case e, ok := <-watcher.Updates():
			if !ok {
				return fmt.Errorf("watching bucket %s: %w", bucket.Bucket(), errEnded)
			}
			if e != nil {
				apply(e)
				continue
			}
		}
		break
	}
	s.work.Go(func() {
		defer func() { _ = watcher.Stop() }()
		for {
			select {
			case <-s.ctx.Done():
				return
			case e, ok := <-watcher.Updates():
				if !ok {
					s.cancel(fmt.Errorf("watching bucket %s: %w", bucket.Bucket(), errEnded))
					return
				}
				if e != nil {
					apply(e)
				}
			}
		}
	})
	return nil
}

var errEnded = errors.New("it ended")
