package journal

import (
	"errors"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// gapAlarm is how long a gap stays an alarm, by HubSpot's clock, after the
// journal is read again: by then every connection in use was refreshed, which
// shows the uninstalls that were missed.
const gapAlarm = time.Hour

// Status is what a [Watcher] knows, as the admin API shows it.
type Status struct {
	// Reads is set in the process that reads the journal.
	Reads bool `json:"readsHere"`
	// ReadAt is when it was last read to its end, by whichever process, by
	// HubSpot's clock; zero for never.
	ReadAt time.Time `json:"readAt,omitzero"`
	// Pending are the portals whose connections are being ended.
	Pending int `json:"pending"`
	// Gap is the last stretch that was not read, nil for none.
	Gap *Gap `json:"gap,omitempty"`
	// Problem is why the journal cannot be read, or followed here; empty if
	// it can.
	Problem string `json:"problem,omitempty"`
}

// Status returns what is known now. It waits for nothing.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// show makes what a document says of the journal known.
func (w *Watcher) show(d *document) {
	w.mu.Lock()
	w.status.Reads = w.claim != "" && d.Claim == w.claim
	w.status.ReadAt, w.status.Gap, w.status.Pending = d.AsOf, d.Gap, len(d.pending())
	w.status.Problem = d.Problem
	w.mu.Unlock()
	w.alarm(connection.AlarmJournal, d.Problem != "", errors.New(d.Problem))
	if d.Gap != nil {
		w.alarm(connection.AlarmJournalGap, d.AsOf.Sub(d.Gap.NoticedAt) < gapAlarm, errors.New(d.Gap.Reason))
	}
	if w.config.Observer != nil && !d.AsOf.IsZero() {
		w.config.Observer.JournalRead(w.config.App, d.AsOf)
	}
}

func (w *Watcher) alarm(reason connection.AlarmReason, lasts bool, cause error) {
	if lasts {
		w.config.Manager.RaiseAlarm(reason, cause)
	} else {
		w.config.Manager.ClearAlarm(reason)
	}
}

// note tells of a look that has failed, and what becomes of it.
func (w *Watcher) note(err error) {
	if w.ctx.Err() != nil {
		return
	}
	if err == nil {
		w.failures = 0
		return
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	w.mu.Lock()
	same := w.failures > 0 && w.status.Problem == text
	w.status.Problem = text
	w.mu.Unlock()
	w.failures++
	if !same {
		w.config.Logger.Warn("the journal cannot be followed; it is tried again", "app", w.config.App, "error", err)
	}
	if w.failures >= alarmAfter {
		w.config.Manager.RaiseAlarm(connection.AlarmJournal, err)
	}
}
