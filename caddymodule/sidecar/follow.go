package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often the files that settings are read from are looked at.
// Files are read for that: their times tell nothing where a whole directory
// takes another's place, as Kubernetes does it.
const lookEvery = 10 * time.Second

// live is what changes while a config runs.
type live struct {
	// current is never nil once the Sidecar is provisioned.
	current atomic.Pointer[Generation]
	// looking is held by who looks at the files.
	looking sync.Mutex

	mu        sync.Mutex
	followers []follower
	ended     bool
	// problem is why files that have changed are not used, nil if all are. told
	// is what the log has of it.
	problem error
	told    string
}

// follower makes what a module needs of a generation. use puts it in the place
// of what is there.
type follower func(*Generation) (use func(), err error)

// Follow has a module make what it needs of the Sidecar's settings: now, and
// anew when a file has changed that settings are read from. A change with which
// any module fails is not used by any. It is called while the module is being
// provisioned; build must be good for calls at any later time, and must not
// change the module. What build has made stays in use for requests under way.
func Follow[T any](s *Sidecar, build func(*Generation) (*T, error)) (*atomic.Pointer[T], error) {
	made, err := build(s.live.current.Load())
	if err != nil {
		return nil, err
	}
	current := new(atomic.Pointer[T])
	current.Store(made)
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	s.live.followers = append(s.live.followers, func(g *Generation) (func(), error) {
		made, err := build(g)
		return func() { current.Store(made) }, err
	})
	return current, nil
}

// follow looks at the files until the config ends.
func (s *Sidecar) follow(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.look()
		case <-ctx.Done():
			return
		}
	}
}

// look has a file that has changed take effect. One that cannot be used is tried
// again at the next look: it may have been half written.
func (s *Sidecar) look() {
	s.live.looking.Lock()
	defer s.live.looking.Unlock()
	before := s.live.current.Load()
	changed := before.files.changed()
	if len(changed) == 0 {
		s.settled("the files that settings are read from are as before again")
		return
	}
	read := newFiles(true)
	g, err := s.generate(read, before)
	if err == nil {
		err = s.live.take(g)
	}
	if err != nil {
		// The end of the config may be all that is wrong.
		if s.ctx.Err() == nil {
			s.refuse(err, read, changed)
		}
		return
	}
	before.releases.release()
	s.settled("")
	s.logger.Info("files that settings are read from have changed, and are in use", slog.Any("files", changed))
}

// take puts a generation in the place of the current one, for all modules or
// for none. If it does not, because a module fails or the config has ended, the
// generation is given back.
func (l *live) take(g *Generation) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	uses := make([]func(), 0, len(l.followers))
	for _, follow := range l.followers {
		use, err := follow(g)
		if err != nil {
			g.releases.release()
			return err
		}
		uses = append(uses, use)
	}
	if l.ended {
		g.releases.release()
		return context.Canceled
	}
	g.start()
	l.current.Store(g)
	for _, use := range uses {
		use()
	}
	return nil
}

// end gives back the current generation, which stays good for requests that
// still run.
func (l *live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if g := l.current.Load(); g != nil {
		g.releases.release()
	}
}

// refuse notes that changed files are not used, and logs it once for what the
// files now hold.
func (s *Sidecar) refuse(err error, read *files, changed []string) {
	l := s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem = err
	if told := fmt.Sprint(err, changed, read.seen); told != l.told {
		l.told = told
		s.logger.Error("files that settings are read from have changed and cannot be used; what they held before stays in use",
			slog.Any("error", err), slog.Any("files", changed))
	}
}

// settled notes that all files are used. If they were not, it logs a message,
// unless that is empty.
func (s *Sidecar) settled(message string) {
	l := s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.problem != nil && message != "" {
		s.logger.Info(message)
	}
	l.problem, l.told = nil, ""
}

// settingsProblem is why files that have changed are not used, nil if all are.
func (s *Sidecar) settingsProblem() error {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	return s.live.problem
}
