package connection

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// ErrOtherPortal means that HubSpot answered a refresh with the tokens of
// another portal than the connection's. They are not used, not stored and not
// revoked: they may be what another connection stands on.
var ErrOtherPortal = errors.New("HubSpot's answer is for another portal than the connection's")

// ReasonPortalChanged is the reason of a connection's alarm, and of its status
// if it stays so, when refreshes are answered for another portal.
const ReasonPortalChanged = "portal_changed"

// A connection whose refreshes are answered for another portal is given up
// after strayMin such answers in a row over strayFor at least, once its own
// access token has run out.
const (
	strayMin = 3
	strayFor = 10 * time.Minute
)

// otherPerson reports whether a grant of a HubSpot user is another's than the
// one that r is pinned to; zero is not known.
func otherPerson(r Record, hubUserID int64) bool {
	return r.HubUserID != 0 && hubUserID != 0 && r.HubUserID != hubUserID
}

// checkPortal refuses a grant that is not the portal's that r is pinned to, or
// not the person's. An answer that does not say is not held against it.
func checkPortal(r Record, grant hubspot.Grant) error {
	if otherPerson(r, grant.UserID) {
		return fmt.Errorf("%w, or another person's: user_id %d in place of %d", ErrOtherPortal, grant.UserID, r.HubUserID)
	}
	if grant.HubID == 0 || r.HubID == 0 || grant.HubID == r.HubID {
		return nil
	}
	return fmt.Errorf("%w: hub_id %d in place of %d", ErrOtherPortal, grant.HubID, r.HubID)
}

// otherPortal deals with an answer for another portal: the connection goes on
// with the tokens that it has, for as long as they live.
func (m *Manager) otherPortal(e *entry, tried *view, claimed Versioned, cause error) error {
	if e.strayed(time.Now()) && !tried.usable(time.Now()) {
		stored, err := m.readAgain(e, tried)
		if err != nil {
			return err
		}
		return m.requireReauth(e, tried, stored, ReasonPortalChanged, cause)
	}
	err := m.refused(e, tried.Record, ReasonPortalChanged, cause)
	m.release(e, claimed)
	return err
}

// strayed counts an answer for another portal. It reports whether it has been
// so for long.
func (e *entry) strayed(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.trouble.strays == 0 {
		e.trouble.strayedAt = now
	}
	e.trouble.strays++
	return e.trouble.strays >= strayMin && now.Sub(e.trouble.strayedAt) >= strayFor
}

// hasStrayed reports whether the last answers were for another portal.
func (e *entry) hasStrayed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trouble.strays > 0
}
