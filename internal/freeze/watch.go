package freeze

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

const (
	// readEvery is the time from one reading to the next, ±20 %: what a
	// store gives within two seconds and a half is in force five seconds
	// after it was stored.
	readEvery = 2 * time.Second
	// readUnknownEvery is for a list that was never read.
	readUnknownEvery = 500 * time.Millisecond
	// readDeniedEvery is for a login that may not read it.
	readDeniedEvery = time.Minute
	// believeOlder is how many readings in a row have to give an older
	// version than the one known before that is believed: a replica that
	// lags behind lifts nothing, while a restored backup does.
	believeOlder = 5
)

// watch reads the list until the Keeper is closed.
func (k *Keeper) watch() {
	for k.ctx.Err() == nil {
		begun := time.Now()
		k.poll()
		timer := time.NewTimer(time.Until(begun.Add(k.interval())))
		select {
		case <-timer.C:
		case <-k.wake:
		case <-k.ctx.Done():
		}
		timer.Stop()
	}
}

func (k *Keeper) interval() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	every := readEvery
	switch {
	case errors.Is(k.failure, connection.ErrDenied):
		every = readDeniedEvery
	case !k.known:
		every = readUnknownEvery
	}
	return every*4/5 + rand.N(every*2/5)
}

func (k *Keeper) poll() {
	all, version, err := k.load(k.ctx)
	switch {
	case k.ctx.Err() != nil:
		return
	case err != nil:
		k.failed(err)
	default:
		k.learn(all, version)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.ended)
	k.ended = make(chan struct{})
}

// load asks the store. No document is an empty list of version 0. Where the
// text cannot be read, the version comes with the error.
func (k *Keeper) load(ctx context.Context) ([]Freeze, uint64, error) {
	text, version, err := k.config.Store.LoadDocument(ctx, documentName)
	if errors.Is(err, connection.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	all, err := decode(text)
	return all, version, err
}

// learn takes a list that the store has given, or has taken.
func (k *Keeper) learn(all []Freeze, version uint64) {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.mu.Lock()
	if k.failure != nil {
		k.config.Logger.Info("the list of freezes can be read again")
	}
	k.failure = nil
	if k.read && version < k.version && k.older < believeOlder-1 {
		k.older++
		k.mu.Unlock()
		return
	}
	k.readAt, k.older = time.Now(), 0
	if k.read && version == k.version {
		k.mu.Unlock()
		return
	}
	k.read, k.version = true, version
	before := k.adopt(all)
	k.mu.Unlock()
	k.tell(before, all)
	k.copy(all, version)
}

// adopt puts a list into force and returns the one before. The caller holds mu.
func (k *Keeper) adopt(all []Freeze) (before []Freeze) {
	if l := k.current.Load(); l != nil {
		before = l.all
	}
	k.known = true
	if len(all) == 0 {
		k.current.Store(nil)
	} else {
		k.current.Store(&list{known: true, all: all})
	}
	return before
}

// tell reports what has changed. The caller holds changing.
func (k *Keeper) tell(before, after []Freeze) {
	added, lifted := without(after, before), without(before, after)
	if k.config.Changed != nil && len(added)+len(lifted) > 0 {
		k.config.Changed(added, lifted)
	}
}

// copy brings the copy up to date. An empty list needs none. The caller holds
// changing.
func (k *Keeper) copy(all []Freeze, version uint64) {
	if k.config.Copies == nil {
		return
	}
	text, err := encode(all)
	switch {
	case err != nil:
	case len(all) == 0:
		err = k.config.Copies.ForgetDocument(documentName)
	default:
		err = k.config.Copies.KeepDocument(documentName, text, version)
	}
	if err != nil {
		k.config.Logger.Warn("the list of freezes cannot be copied to fallback_cache", "error", err)
	}
}

// failed notes a reading without a list.
func (k *Keeper) failed(err error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.mu.Lock()
	same := k.failure != nil && errors.Is(k.failure, connection.ErrDenied) == errors.Is(err, connection.ErrDenied)
	k.failure = err
	known := k.known
	k.mu.Unlock()
	cause := err
	if !known {
		err = k.doWithout(cause)
	}
	if same {
		return
	}
	message := "the connection store does not answer"
	switch {
	case errors.Is(cause, connection.ErrDenied):
		message = "the connection store does not permit it"
	case errors.Is(cause, connection.ErrCorrupt):
		message = "the connection store has what cannot be read"
	}
	message += ", so the list of freezes cannot be read"
	if known {
		message += ": the last known one holds"
	}
	k.config.Logger.Warn(message, "error", cmp.Or(err, cause), "freezes", len(k.Report().Freezes), "serving", k.Report().Known)
}

// doWithout finds another list to go by while none was ever read: the copy of
// one while the store does not answer, none where the store does not let it be
// read. The caller holds changing.
func (k *Keeper) doWithout(reason error) error {
	var all []Freeze
	switch {
	case errors.Is(reason, connection.ErrDenied):
	case errors.Is(reason, connection.ErrUnavailable) && k.config.Copies != nil:
		text, _, err := k.config.Copies.RecallDocument(documentName)
		if err == nil {
			all, err = decode(text)
		}
		if err != nil && !errors.Is(err, connection.ErrNotFound) {
			return errors.Join(reason, err)
		}
	default:
		return reason
	}
	k.mu.Lock()
	before := k.adopt(all)
	k.mu.Unlock()
	k.tell(before, all)
	return reason
}
