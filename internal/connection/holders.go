package connection

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	// shardDigits of a mark choose the sheet that it is on: one of 4,096,
	// each of which stays small with millions of connections.
	shardDigits = 3
	// maxHolders keeps a sheet small for a portal with very many users: one
	// with more of them is never uninstalled, nor a grant revoked.
	maxHolders = 500
	// intentLife is how long a connection that is being made counts as a
	// holder before its record is there. It is compared across machines, and
	// far longer than an install and the difference of clocks.
	intentLife = 15 * time.Minute
	// doubtLife is how long it is remembered that a subject was ended: longer
	// than an install can take from its tokens to its record.
	doubtLife = time.Hour
	// conflictPause is the wait after a lost race for a sheet.
	conflictPause = 20 * time.Millisecond
	// maxWatches bounds what is remembered of other processes' attempts.
	maxWatches = 10_000
	// attemptPoll is how often an install looks whether an end under way is over.
	attemptPoll = 200 * time.Millisecond
)

// errEnding means that another process is ending the same grant or app just now.
var errEnding = errors.New("another process is ending it")

// subject is what connections can share and only the last of them may end: a
// grant, or the app in a portal. The ledger knows it by a keyed hash.
type subject struct {
	// Holders are the connections that stand on it, by their generation. All
	// that do are among them; one that does not is found out by its record.
	Holders map[string]holder `json:"holders,omitempty"`
	// Attempt is the end of it that is under way, which installs wait for.
	Attempt string `json:"attempt,omitempty"`
	// Crowded says that there are, or were, more holders than are written
	// down: it is not known when the last one goes.
	Crowded bool `json:"crowded,omitempty"`
	// Ended is when it was last tried to end it. Whoever comes to stand on it
	// soon after has to ask HubSpot whether it is still there.
	Ended time.Time `json:"ended,omitzero"`
}

// add adds a holder, and reports whether that changed anything.
func (s *subject) add(generation string, h holder) bool {
	if _, known := s.Holders[generation]; !known && len(s.Holders) >= maxHolders {
		was := s.Crowded
		s.Crowded = true
		return !was
	}
	s.Holders[generation] = h
	return true
}

type holder struct {
	User string `json:"user"`
	// At is when the connection came to be a holder; zero if that was found
	// later, by its record.
	At time.Time `json:"at,omitzero"`
}

// holderSheet is a sheet of subjects by their marks.
type holderSheet struct {
	Subjects map[string]*subject `json:"subjects"`
}

func newHolderSheet() *holderSheet { return &holderSheet{Subjects: make(map[string]*subject)} }

func (s *holderSheet) of(mark string) *subject {
	found := s.Subjects[mark]
	if found == nil {
		found = new(subject)
		s.Subjects[mark] = found
	}
	if found.Holders == nil {
		found.Holders = make(map[string]holder)
	}
	return found
}

// prune drops subjects of which there is nothing to remember.
func (s *holderSheet) prune(now time.Time) {
	for mark, of := range s.Subjects {
		if now.Sub(of.Ended) > doubtLife {
			of.Ended = time.Time{}
		}
		if len(of.Holders) == 0 && !of.Crowded && of.Attempt == "" && of.Ended.IsZero() {
			delete(s.Subjects, mark)
		}
	}
}

// changeSubject changes a subject of the ledger by check-and-set.
func (m *Manager) changeSubject(ctx context.Context, mark string, change func(*subject) (bool, error)) error {
	return changeSheet(ctx, m, mark[:shardDigits], newHolderSheet, func(sheet *holderSheet) (bool, error) {
		changed, err := change(sheet.of(mark))
		sheet.prune(time.Now())
		return changed, err
	})
}

// grantMark is how the ledger knows a grant: by its refresh token.
func (m *Manager) grantMark(ctx context.Context, refreshToken secret.Text) (string, error) {
	return m.config.Store.Mark(ctx, m.config.App, "grant "+refreshToken.Reveal())
}

// portalMark is how the ledger knows the app in a portal.
func (m *Manager) portalMark(ctx context.Context, hubID int64) (string, error) {
	return m.config.Store.Mark(ctx, m.config.App, "portal "+strconv.FormatInt(hubID, 10))
}

// marksOf are all marks under which the ledger has a connection as a holder.
func (m *Manager) marksOf(ctx context.Context, r Record) ([]string, error) {
	portal, err := m.portalMark(ctx, r.HubID)
	if err != nil {
		return nil, err
	}
	marks := append([]string{portal}, r.Grants...)
	if r.RefreshToken.IsZero() {
		return marks, nil
	}
	grant, err := m.grantMark(ctx, r.RefreshToken)
	return append(marks, grant), err
}

// hold makes the connection r a holder of what mark stands for, before its
// record is stored. It waits for an end that is under way, and reports whether
// it has to be asked if there still is a grant.
func (m *Manager) hold(ctx context.Context, mark string, r Record) (doubtful bool, err error) {
	var watch attemptWatch
	for {
		err := m.changeSubject(ctx, mark, func(s *subject) (bool, error) {
			if s.Attempt != "" && !watch.lapsed(s.Attempt, m.config.Lease) {
				return false, errEnding
			}
			doubtful = !s.Ended.IsZero() && time.Since(s.Ended) < doubtLife
			ended := s.Attempt != ""
			s.Attempt = ""
			return s.add(r.Generation, holder{User: r.User, At: time.Now()}) || ended, nil
		})
		if !errors.Is(err, errEnding) {
			return doubtful, err
		}
		if !sleep(ctx, m.jitter(attemptPoll)) {
			return false, context.Cause(ctx)
		}
	}
}

// letGo takes a connection off the holders of what marks stand for. What fails
// is left: its record shows that it is none.
func (m *Manager) letGo(ctx context.Context, generation string, marks ...string) {
	for _, mark := range marks {
		_ = m.changeSubject(ctx, mark, func(s *subject) (bool, error) {
			_, held := s.Holders[generation]
			delete(s.Holders, generation)
			return held, nil
		})
	}
}

// ending is what endSubject is to end, and for whom.
type ending struct {
	mark, generation string
	// waits reports whether another disconnect will come to end it as well.
	waits func(Ending) bool
}

// leave takes the connection of an Ending off the holders of a subject that it
// does not end, and reports whether another one stands on it.
func (m *Manager) leave(ctx context.Context, what ending) (shared bool, err error) {
	err = m.changeSubject(ctx, what.mark, func(s *subject) (changed bool, err error) {
		changed, shared, err = m.takeOff(ctx, s, what)
		return changed, err
	})
	return shared, err
}

// takeOff takes a connection off the holders of s, and all that are none.
func (m *Manager) takeOff(ctx context.Context, s *subject, what ending) (changed, shared bool, err error) {
	_, held := s.Holders[what.generation]
	delete(s.Holders, what.generation)
	if s.Crowded {
		return held, true, nil
	}
	stale, shared, err := m.sortOut(ctx, s, what.waits)
	return held || stale, shared, err
}

// endSubject takes the connection of an Ending off the holders of a subject and,
// if no other is left, has act end it. Its outcome is pending with every error.
// Two that leave at the same time are put in order by the sheet: the first
// finds the other, and the second nobody.
func (m *Manager) endSubject(ctx context.Context, what ending, act func(context.Context) (Outcome, error)) (Outcome, error) {
	attempt, begun := rand.Text(), time.Now()
	shared := false
	err := m.changeSubject(ctx, what.mark, func(s *subject) (changed bool, err error) {
		changed, shared, err = m.takeOff(ctx, s, what)
		switch {
		case err != nil || shared:
			return changed, err
		case s.Attempt != "" && s.Attempt != attempt && !m.attempts.lapsed(what.mark, s.Attempt, m.config.Lease):
			return false, errEnding
		}
		begun = time.Now()
		s.Attempt, s.Ended = attempt, begun
		return true, nil
	})
	switch {
	case err != nil:
		return OutcomePending, err
	case shared:
		return OutcomeShared, nil
	case time.Since(begun) > m.config.Lease/3:
		// Too late to be sure of being done before an install takes it over.
		m.endAttempt(ctx, what.mark, attempt)
		return OutcomePending, errors.New("the store was too slow")
	}
	bounded, cancel := context.WithTimeout(ctx, m.config.Lease/3)
	defer cancel()
	outcome, err := act(bounded)
	m.endAttempt(context.WithoutCancel(ctx), what.mark, attempt)
	return outcome, err
}

// endAttempt lets installs go on that wait for an end. If that fails they do
// so when it has lapsed.
func (m *Manager) endAttempt(ctx context.Context, mark, attempt string) {
	ctx, cancel := context.WithTimeout(ctx, m.config.Lease/3)
	defer cancel()
	_ = m.changeSubject(ctx, mark, func(s *subject) (bool, error) {
		if s.Attempt != attempt {
			return false, nil
		}
		s.Attempt, s.Ended = "", time.Now()
		return true, nil
	})
}

// sortOut removes holders whose records show that they are none (any more),
// until it finds one that is.
func (m *Manager) sortOut(ctx context.Context, s *subject, waits func(Ending) bool) (stale, live bool, err error) {
	for generation, h := range s.Holders {
		stands, err := m.stands(ctx, generation, h, waits)
		if err != nil {
			return stale, false, err
		}
		if stands {
			return stale, true, nil
		}
		delete(s.Holders, generation)
		stale = true
	}
	return stale, false, nil
}

// stands reports whether a holder of the ledger is a connection, will be one in
// a moment, or is one that is on its way out and will see for itself.
func (m *Manager) stands(ctx context.Context, generation string, h holder, waits func(Ending) bool) (bool, error) {
	stored, err := m.config.Store.Load(ctx, m.key(h.User))
	switch {
	case errors.Is(err, ErrNotFound):
	case errors.Is(err, ErrCorrupt):
		return true, nil // whatever it is, it is not cut off
	case err != nil:
		return false, err
	case stored.Generation == generation && (stored.Status == StatusActive || stored.Status == StatusReauthRequired):
		return true, nil
	default:
		for _, e := range stored.Endings {
			if e.Generation == generation {
				return waits(e), nil
			}
		}
	}
	return time.Since(h.At) < intentLife, nil
}

// attemptWatch is how long this process has seen one and the same attempt, by
// its own monotonic clock. The zero value has seen none.
type attemptWatch struct {
	attempt string
	since   time.Time
}

func (w *attemptWatch) lapsed(attempt string, lease time.Duration) bool {
	if w.attempt != attempt {
		*w = attemptWatch{attempt: attempt, since: time.Now()}
	}
	return time.Since(w.since) >= lease
}

// attemptWatches are those of many subjects, by their marks. The zero value is
// ready to use, by several goroutines.
type attemptWatches struct {
	mu   sync.Mutex
	seen map[string]*attemptWatch
}

func (w *attemptWatches) lapsed(mark, attempt string, lease time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil || len(w.seen) > maxWatches {
		w.seen = make(map[string]*attemptWatch)
	}
	if w.seen[mark] == nil {
		w.seen[mark] = new(attemptWatch)
	}
	return w.seen[mark].lapsed(attempt, lease)
}
