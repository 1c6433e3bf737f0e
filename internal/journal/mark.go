package journal

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// follow does what a document tells: the uninstalls that this process has not
// looked at yet end the connections that it has in memory, and what is wrong
// becomes the app's alarm.
func (w *Watcher) follow(ctx context.Context, d *document) {
	w.show(d)
	if d.Seq < w.seen {
		w.seen = 0 // the document begins anew
	}
	if len(d.Uninstalls) > 0 && d.Uninstalls[0].Seq > w.seen+1 {
		// Some have come and gone between two looks.
		if w.markAllKnown(ctx, uninstall{}) != nil {
			return // again at the next look
		}
		w.seen = d.Uninstalls[0].Seq - 1
	}
	for _, u := range d.Uninstalls {
		if u.Seq <= w.seen {
			continue
		}
		if w.markAllKnown(ctx, u) != nil {
			return
		}
		w.seen = u.Seq
	}
}

func (w *Watcher) markAllKnown(ctx context.Context, u uninstall) error {
	for _, user := range w.config.Manager.UsersOf(u.HubID) {
		if err := w.markKnown(ctx, user, u); err != nil {
			return err
		}
	}
	return nil
}

// markKnown ends a connection that is in memory, or sees how the store has it.
func (w *Watcher) markKnown(ctx context.Context, user string, u uninstall) error {
	if u.HubID == 0 {
		return w.config.Manager.Reread(ctx, user)
	}
	_, err := w.config.Manager.Uninstalled(ctx, user, u.HubID, u.At)
	if errors.Is(err, connection.ErrTokenUnavailable) || errors.Is(err, connection.ErrCorrupt) {
		return nil // the reader asks again
	}
	return err
}

// markStored ends the stored connections of portals, reading through all.
func (t *turn) markStored(ctx context.Context, portals map[int64]time.Time) error {
	var doubt, lost error
	ended := 0
	wanted := func(hubID int64) bool {
		if lost == nil {
			lost = t.beat(ctx)
		}
		_, ok := portals[hubID]
		return ok || lost != nil
	}
	err := t.config.Manager.EachOfPortals(ctx, wanted, func(r connection.Record) error {
		if lost != nil {
			return lost
		}
		marked, err := t.config.Manager.Uninstalled(ctx, r.User, r.HubID, portals[r.HubID])
		switch {
		case errors.Is(err, connection.ErrTokenUnavailable):
			doubt = err
			return nil
		case errors.Is(err, connection.ErrCorrupt):
			return nil
		case marked:
			ended++
		}
		return err
	})
	if ended > 0 {
		t.config.Logger.Warn("the app was uninstalled: connections require another install", "app", t.config.App, "connections", ended)
	}
	switch {
	case err != nil:
		return err
	case lost != nil:
		return lost
	case doubt != nil:
		return t.inDoubt(doubt)
	}
	return nil
}

func latest(times iter.Seq[time.Time]) time.Time {
	var last time.Time
	for at := range times {
		if at.After(last) {
			last = at
		}
	}
	return last
}
