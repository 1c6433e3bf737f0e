package connection

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Outcome says how far one part of a disconnect is.
type Outcome string

// The values of [Outcome].
const (
	// OutcomePending: it is tried again until it is done.
	OutcomePending Outcome = "pending"
	// OutcomeDone: HubSpot has done it, or said that there is nothing left to end.
	OutcomeDone Outcome = "done"
	// OutcomeShared: another connection stands on it, so it was left as it is.
	OutcomeShared Outcome = "shared"
	// OutcomeNotAsked: nobody asked for it.
	OutcomeNotAsked Outcome = "not_asked"
	// OutcomeRefused: HubSpot has refused it for a reason that stays, or has no
	// endpoint for it.
	OutcomeRefused Outcome = "refused"
)

// Receipt says what was done to disconnect a user.
type Receipt struct {
	User  string
	HubID int64
	// Revoked is about the grant at HubSpot, Uninstalled about the app in the
	// portal.
	Revoked, Uninstalled Outcome
	// Destroyed says that no stored version is left by which the connection
	// could be used. The refresh token alone is kept, to revoke it, while
	// something is pending.
	Destroyed bool
	// At is when the connection was ended here.
	At time.Time
}

// Pending reports whether something is still to be done.
func (r Receipt) Pending() bool {
	return r.Revoked == OutcomePending || r.Uninstalled == OutcomePending || !r.Destroyed
}

// Ending is a disconnect in a record: what is left to do, and what for that is
// needed. It is in the record of [StatusDisconnecting], and of the connection
// that a user has made since; the tombstone has what was done.
type Ending struct {
	// Generation is that of the connection that was ended.
	Generation string
	HubID      int64
	// Token is the refresh token to revoke. It is blank once nothing is pending.
	Token secret.Text
	// Grants are further marks under which the ledger knows the connection.
	Grants []string
	// Access is an access token to uninstall with, which lives until
	// AccessUntil. It is kept only while that is pending.
	Access      secret.Text
	AccessUntil time.Time

	Revoked, Uninstalled Outcome
	Destroyed            bool
	At                   time.Time
}

// storedEnding is an Ending as it is stored, inside a record.
type storedEnding struct {
	Generation  string    `json:"gen,omitempty"`
	HubID       int64     `json:"hub_id,omitempty"`
	Token       string    `json:"refresh_token,omitempty"`
	Grants      []string  `json:"grants,omitempty"`
	Access      string    `json:"access_token,omitempty"`
	AccessUntil time.Time `json:"access_until,omitzero"`
	Revoked     Outcome   `json:"revoked"`
	Uninstalled Outcome   `json:"uninstalled"`
	Destroyed   bool      `json:"destroyed"`
	At          time.Time `json:"at"`
}

// pending reports whether HubSpot is still to be asked for something.
func (e Ending) pending() bool {
	return e.Revoked == OutcomePending || e.Uninstalled == OutcomePending
}

// settled is e without what was needed for what is done.
func (e Ending) settled() Ending {
	if e.Uninstalled != OutcomePending {
		e.Access, e.AccessUntil = secret.Text{}, time.Time{}
	}
	if !e.pending() {
		e.Token, e.Grants = secret.Text{}, nil
	}
	return e
}

func (e Ending) receipt(user string) Receipt {
	return Receipt{
		User: user, HubID: e.HubID, Revoked: e.Revoked, Uninstalled: e.Uninstalled,
		Destroyed: e.Destroyed, At: e.At,
	}
}

// receipt is that of the record's last disconnect; nil if it has none.
func (r Record) receipt() *Receipt {
	if len(r.Endings) == 0 {
		return nil
	}
	receipt := r.Endings[len(r.Endings)-1].receipt(r.User)
	return &receipt
}

// unsettled reports whether a disconnect of the user is still to be finished.
func (r Record) unsettled() bool {
	return r.Status == StatusDisconnecting || slices.ContainsFunc(r.Endings, Ending.pending)
}

func encodeEndings(endings []Ending) string {
	if len(endings) == 0 {
		return ""
	}
	stored := make([]storedEnding, len(endings))
	for i, e := range endings {
		stored[i] = storedEnding{
			Generation: e.Generation, HubID: e.HubID, Token: e.Token.Reveal(), Grants: e.Grants,
			Access: e.Access.Reveal(), AccessUntil: e.AccessUntil,
			Revoked: e.Revoked, Uninstalled: e.Uninstalled, Destroyed: e.Destroyed, At: e.At,
		}
	}
	text, err := json.Marshal(stored) //nolint:gosec // it goes into the record, which has the other tokens
	if err != nil {
		panic(fmt.Sprintf("encoding endings: %v", err)) // texts, numbers and times of four digits can be encoded
	}
	return string(text)
}

func decodeEndings(text string) ([]Ending, error) {
	if text == "" {
		return nil, nil
	}
	var stored []storedEnding
	if err := json.Unmarshal([]byte(text), &stored); err != nil {
		return nil, ErrCorrupt // the decoder's text quotes what it read
	}
	endings := make([]Ending, len(stored))
	for i, e := range stored {
		endings[i] = Ending{
			Generation: e.Generation, HubID: e.HubID, Token: secret.New(e.Token), Grants: e.Grants,
			Access: secret.New(e.Access), AccessUntil: e.AccessUntil,
			Revoked: e.Revoked, Uninstalled: e.Uninstalled, Destroyed: e.Destroyed, At: e.At,
		}
	}
	return endings, nil
}
