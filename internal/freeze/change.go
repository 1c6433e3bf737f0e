package freeze

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// Errors of changes, beside those of [connection.DocumentStore]: ErrConflict
// after many tries, ErrDenied, ErrUnavailable.
var (
	// ErrNotKept means that the store cannot keep a list of freezes.
	ErrNotKept = errors.New("the store cannot keep freezes")
	// ErrNoSuchFreeze means that nothing is frozen by exactly that selector.
	ErrNoSuchFreeze = errors.New("there is no such freeze")
	// ErrInvalid means that the list cannot hold the freeze, or that it makes
	// no sense.
	ErrInvalid = errors.New("not a valid freeze")
)

const (
	// maxChangeTries is how often a change is tried that others get ahead of.
	maxChangeTries = 10
	// changePause is the longest pause before another try.
	changePause = 200 * time.Millisecond
)

// Freeze adds f to the list. It returns when the list is stored, and in force
// here. Where the same calls are frozen already it changes nothing.
func (k *Keeper) Freeze(ctx context.Context, f Freeze) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return k.change(ctx, func(all []Freeze) ([]Freeze, error) {
		switch {
		case has(all, f.Selector):
			return all, nil
		case len(all) >= maxFreezes:
			return nil, fmt.Errorf("%w: there are %d freezes already", ErrInvalid, len(all))
		}
		return append(slices.Clone(all), f), nil
	})
}

// Unfreeze takes the freeze of exactly these calls off the list. Otherwise it
// is as Freeze.
func (k *Keeper) Unfreeze(ctx context.Context, s Selector) error {
	return k.change(ctx, func(all []Freeze) ([]Freeze, error) {
		left := without(all, []Freeze{{Selector: s}})
		if len(left) == len(all) {
			return nil, ErrNoSuchFreeze
		}
		return left, nil
	})
}

// UnfreezeAll empties the list, also one that cannot be read. Otherwise it is
// as Freeze.
func (k *Keeper) UnfreezeAll(ctx context.Context) error {
	return k.change(ctx, nil)
}

// change replaces the list by what a function makes of the stored one; nil
// makes an empty list.
func (k *Keeper) change(ctx context.Context, by func([]Freeze) ([]Freeze, error)) error {
	if k.config.Store == nil {
		return ErrNotKept
	}
	for try := 1; ; try++ {
		err := k.changeOnce(ctx, by)
		if !errors.Is(err, connection.ErrConflict) || try == maxChangeTries {
			return err
		}
		select {
		case <-time.After(rand.N(changePause)):
		case <-ctx.Done():
			return err
		}
	}
}

func (k *Keeper) changeOnce(ctx context.Context, by func([]Freeze) ([]Freeze, error)) error {
	all, version, err := k.load(ctx)
	if err != nil && (by != nil || !errors.Is(err, connection.ErrCorrupt)) {
		return fmt.Errorf("reading the list of freezes: %w", err)
	}
	var next []Freeze
	if by != nil {
		if next, err = by(all); err != nil {
			return err
		}
	}
	if err == nil && len(next) == len(all) {
		k.learn(all, version)
		return nil
	}
	text, err := encode(next)
	if err != nil {
		return err
	}
	version, err = k.config.Store.SaveDocument(ctx, documentName, text, version)
	if err != nil {
		return fmt.Errorf("storing the list of freezes: %w", err)
	}
	k.learn(next, version)
	return nil
}
