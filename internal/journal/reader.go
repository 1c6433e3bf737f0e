package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

const (
	// subscribeEvery is how often the subscriptions are looked after.
	subscribeEvery = 6 * time.Hour
	// retention is how long HubSpot keeps files.
	retention = 3 * 24 * time.Hour
	// backoffBase and backoffMax bound the wait after failures in a row.
	backoffBase = 5 * time.Second
	backoffMax  = time.Minute
	// alarmAfter is how many of them make a problem that all are told.
	alarmAfter = 3
	// giveUpAfter is how many make the reader leave the claim to others for a
	// while: its own way to HubSpot may be what is wrong.
	giveUpAfter = 6
	// fileTries is how often a file is fetched that cannot be read, before it
	// is passed over.
	fileTries = 5
	// doubtTries is how often HubSpot is asked which came last, an install or
	// an uninstall, before that is left to the next refresh.
	doubtTries = 3
)

// reading is what a process remembers between turns while it holds the claim.
type reading struct {
	// next is when the journal is read next, and subscribed when the
	// subscriptions were last seen.
	next, subscribed time.Time
	// asOf is when it was last read to its end, which is written down with
	// the next write for another reason.
	asOf time.Time
	// failures counts them in a row.
	failures int
	// badFile is the offset of a file that could not be read badTries times.
	badFile  string
	badTries int
	// doubts counts the times that an uninstall could not be told from an
	// install.
	doubts int
}

// turn is what the holder of the claim does at one look.
type turn struct {
	*Watcher
	doc     document
	version uint64
	savedAt time.Time
}

// run does what is to be done now. The document moves at least three times in
// the lease, whatever happens.
func (t *turn) run(ctx context.Context) error {
	err := t.finishPending(ctx)
	if err == nil && !time.Now().Before(t.reading.next) {
		err = t.readOn(ctx)
	}
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return errLost
	}
	if err != nil {
		t.failed(err)
		err = errors.Join(err, t.tellProblem(ctx, err))
		if t.reading.failures >= giveUpAfter {
			t.restUntil = time.Now().Add(t.hurried(2 * lease))
			t.Watcher.release(ctx)
			return err
		}
	}
	return errors.Join(err, t.beat(ctx))
}

// failed has the next reading wait, and longer with each failure.
func (t *turn) failed(err error) {
	t.reading.failures++
	wait := min(backoffBase<<min(t.reading.failures-1, 8), backoffMax)
	if refused, ok := errors.AsType[statusError](err); ok {
		wait = max(wait, min(refused.retryAfter, 10*time.Minute))
	}
	t.reading.next = time.Now().Add(t.hurried(wait))
}

// tellProblem writes down what is wrong, once it has been so for a while.
func (t *turn) tellProblem(ctx context.Context, err error) error {
	if text := strings.ReplaceAll(err.Error(), "\n", "; "); t.reading.failures >= alarmAfter && t.doc.Problem != text {
		t.doc.Problem = text
		return t.keep(ctx)
	}
	return nil
}

// keep writes the document. With errLost another process has the claim.
func (t *turn) keep(ctx context.Context) error {
	version, err := t.save(ctx, t.doc, t.version)
	if err != nil {
		return err
	}
	t.version, t.savedAt = version, time.Now()
	t.follow(ctx, &t.doc)
	return nil
}

// beat shows the others that the reader lives, if nothing was written for long.
func (t *turn) beat(ctx context.Context) error {
	if time.Since(t.savedAt) < t.hurried(lease/3) {
		return nil
	}
	return t.keep(ctx)
}

// readOn reads the journal to its end.
func (t *turn) readOn(ctx context.Context) error {
	if time.Since(t.reading.subscribed) > subscribeEvery {
		made, err := t.client.subscribe(ctx)
		if err != nil {
			return err
		}
		t.reading.subscribed = time.Now()
		if made > 0 {
			t.config.Logger.Info("subscribed to installs and uninstalls in the journal", "app", t.config.App, "subscriptions", made)
		}
	}
	for ctx.Err() == nil {
		entries, at, err := t.nextEntries(ctx)
		if err != nil {
			return err
		}
		if err := t.readFiles(ctx, entries, at); err != nil {
			return err
		}
		if err := t.finishPending(ctx); err != nil {
			return err
		}
		if len(entries) < batchSize {
			return t.caughtUp(ctx, at)
		}
	}
	return ctx.Err()
}

// nextEntries asks for what follows the stored offset. If HubSpot does not know
// it any more, reading begins anew.
func (t *turn) nextEntries(ctx context.Context) ([]entry, time.Time, error) {
	entries, at, err := t.client.next(ctx, t.doc.Offset)
	if refused, ok := errors.AsType[statusError](err); ok && t.doc.Offset != "" && isAboutOffset(refused.status) {
		// That it is about the offset, and not about the endpoint, shows in
		// the beginning of the journal being there.
		entries, at, beginErr := t.client.next(ctx, "")
		if beginErr != nil {
			return nil, at, errors.Join(err, beginErr)
		}
		t.doc.Offset = ""
		t.lost(GapOffset, at)
		return entries, at, t.keep(ctx)
	}
	if err == nil && !t.doc.AsOf.IsZero() && at.Sub(t.doc.AsOf) > retention {
		t.lost(GapAge, at)
		t.doc.AsOf = at
		err = t.keep(ctx)
	}
	return entries, at, err
}

// isAboutOffset holds the answers that an unknown offset may have: which it is
// HubSpot does not document.
func isAboutOffset(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// lost notes that events may be missing.
func (t *turn) lost(reason string, at time.Time) {
	t.doc.Gap = &Gap{Reason: reason, Since: t.doc.AsOf, NoticedAt: at}
	t.config.Logger.Error("events of the journal may be lost: uninstalls from that time show with the next refresh only",
		"app", t.config.App, "reason", reason, "since", t.doc.AsOf)
}

// readFiles reads files in their order and writes down what they tell together
// with how far that is. Links live for minutes only, so that a file which
// cannot be fetched has the entries asked for anew.
func (t *turn) readFiles(ctx context.Context, entries []entry, at time.Time) error {
	before := t.doc.Offset
	for _, e := range entries {
		l, err := t.readFile(ctx, e)
		if errors.Is(err, errFile) && t.givesUp(e) {
			t.lost(GapFile, at)
			err = nil
		}
		if err != nil {
			if t.doc.Offset != before {
				err = errors.Join(err, t.keep(ctx))
			}
			return err
		}
		if err := t.learn(ctx, l); err != nil {
			return err
		}
		t.doc.Offset = e.Offset
		if err := t.beat(ctx); err != nil {
			return err
		}
	}
	if t.doc.Offset != before {
		return t.keep(ctx)
	}
	return nil
}

func (t *turn) readFile(ctx context.Context, e entry) (life, error) {
	data, err := t.files.fetch(ctx, e.URL)
	if err != nil {
		return life{}, err
	}
	return parseFile(data, t.config.AppID)
}

// givesUp counts the tries of a file that cannot be read.
func (t *turn) givesUp(e entry) bool {
	if t.reading.badFile != e.Offset {
		t.reading.badFile, t.reading.badTries = e.Offset, 0
	}
	t.reading.badTries++
	return t.reading.badTries >= fileTries
}

// learn notes the uninstalls of a file. More than a document takes are done at
// once, before the offset moves.
func (t *turn) learn(ctx context.Context, l life) error {
	count := func(event string, n int) {
		if n > 0 && t.config.Observer != nil {
			t.config.Observer.JournalEvents(t.config.App, event, n)
		}
	}
	count("install", l.installs)
	count("uninstall", l.uninstalls)
	count("uninstall_of_one_person", l.personal)
	if len(l.uninstalled) == 0 {
		return nil
	}
	t.config.Logger.Info("the journal tells of uninstalls", "app", t.config.App, "portals", len(l.uninstalled))
	if len(t.doc.pending())+len(l.uninstalled) <= maxPending {
		for hubID, at := range l.uninstalled {
			t.doc.add(hubID, at, false)
		}
		return nil
	}
	all := t.doc.pending()
	for hubID, at := range l.uninstalled {
		if at.After(all[hubID]) {
			all[hubID] = at
		}
	}
	if err := t.markStored(ctx, all); err != nil {
		return err
	}
	t.doc.finish()
	t.doc.add(0, latest(maps.Values(all)), true)
	return nil
}

// finishPending does the uninstalls that the document has and that were not
// done.
func (t *turn) finishPending(ctx context.Context) error {
	pending := t.doc.pending()
	if len(pending) == 0 {
		return nil
	}
	if err := t.markStored(ctx, pending); err != nil {
		return err
	}
	t.reading.doubts = 0
	t.doc.finish()
	return t.keep(ctx)
}

// caughtUp notes that the journal was read to its end.
func (t *turn) caughtUp(ctx context.Context, at time.Time) error {
	wrong, first := t.doc.Problem != "", t.doc.AsOf.IsZero()
	t.doc.Problem, t.doc.AsOf, t.reading.asOf = "", at, at
	t.reading.failures = 0
	t.reading.next = time.Now().Add(t.hurried(readEvery))
	if wrong {
		t.config.Logger.Info("the journal can be read again", "app", t.config.App)
	}
	if wrong || first {
		return t.keep(ctx)
	}
	t.follow(ctx, &t.doc)
	return nil
}

// errDoubt means that HubSpot did not say whether a grant has outlived an
// uninstall.
var errDoubt = errors.New("HubSpot does not say which came last, an install or an uninstall")

func (t *turn) inDoubt(err error) error {
	t.reading.doubts++
	if t.reading.doubts >= doubtTries {
		return nil
	}
	return fmt.Errorf("%w: %w", errDoubt, err)
}
