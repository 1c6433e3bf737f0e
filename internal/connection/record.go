package connection

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Key names a connection: one user of the vendor, in one HubSpot app.
type Key struct {
	// App is the app's configured name in lower case.
	App string
	// User is the vendor's own identifier of its customer
	// (userForeignIdentifier): any non-empty string.
	User string
}

// Status says what a connection can be used for.
type Status string

const (
	// StatusActive is a connection with a grant that is not known to be dead.
	StatusActive Status = "active"
	// StatusReauthRequired is a connection whose grant HubSpot refused for
	// good: the user has to install the app again.
	StatusReauthRequired Status = "reauth_required"
	// StatusDisconnecting is a connection that was ended here while its grant
	// is still to be ended at HubSpot. It holds no tokens but those in Endings,
	// and serves nobody.
	StatusDisconnecting Status = "disconnecting"
	// StatusDisconnected is the tombstone of a connection. It holds no
	// tokens. It stays in the store so that the version goes on counting
	// and a late writer cannot bring the connection back.
	StatusDisconnected Status = "disconnected"
)

// Claim is a process's announcement, written into the record, that it is
// about to use the refresh token. Whoever finds one waits.
type Claim struct {
	// ID is random and unique to one attempt.
	ID string
	// Owner names the process, for operators; no rule depends on it.
	Owner string
	// For is a fingerprint of the refresh token in use.
	For string
}

// Record is the versioned document that a [Store] keeps for one connection.
// The zero value is no connection. Records are values: whoever changes one
// changes a copy, and Scopes, UsedNonces and Extra are never written in place.
type Record struct {
	Key

	// Status is what the connection can be used for.
	Status Status
	// HubID is the portal (HubSpot account) that the grant belongs to.
	HubID int64
	// HubUserID is the HubSpot user whose grant it is, of a user-level app;
	// otherwise zero: the grant is the account's.
	HubUserID int64
	// Scopes are the granted scopes.
	Scopes []string
	// MissingScopes are scopes of the app's settings that were not granted.
	MissingScopes []string
	// Generation is random and new with every install.
	Generation string
	// Static says that AccessToken is the token of a static app, which HubSpot
	// takes until somebody ends it: it has no refresh token and no end.
	Static bool
	// Rotates is set once a refresh has answered with another refresh
	// token than the one it was given, and stays set when the user installs
	// anew. HubSpot's do not rotate (observed 2026-09).
	Rotates bool

	// Grants are the marks of earlier refresh tokens under which the ledger
	// knows the connection, and of the newest: see [Ledger]. It is empty for
	// a grant that was never seen to rotate.
	Grants []string
	// Endings are disconnects of the user that are to be finished; in a
	// tombstone, what was done.
	Endings []Ending

	// AccessToken is blank in a tombstone.
	AccessToken secret.Text
	// RefreshToken is blank in a tombstone.
	RefreshToken secret.Text
	// IssuedAt and ExpiresAt bound the access token's life.
	IssuedAt, ExpiresAt time.Time

	// ConnectedAt is when the user last installed the app.
	ConnectedAt time.Time
	// UpdatedAt is when the record was last written.
	UpdatedAt time.Time
	// Reason says why Status is what it is, for operators.
	Reason string
	// ReasonAt is when Reason was written.
	ReasonAt time.Time

	// Claim is the refresh in progress, or nil.
	Claim *Claim
	// UsedNonces are the one-time values of the install states that were
	// redeemed lately, with the time at which each may be forgotten.
	UsedNonces map[string]time.Time
	// WriteID is random and new with every write, so that a writer whose
	// answer was lost recognises its own write.
	WriteID string

	// Extra are fields that this version does not know. They are carried over.
	Extra map[string]string
}

// Field names of a stored record. All values are strings: Vault's audit log
// hashes strings and shows numbers and booleans in clear.
const (
	fieldApp           = "app"
	fieldUser          = "user"
	fieldStatus        = "status"
	fieldHubID         = "hub_id"
	fieldHubUserID     = "hub_user_id"
	fieldScopes        = "scopes"
	fieldMissingScopes = "missing_scopes"
	fieldGeneration    = "gen"
	fieldRotates       = "rotates"
	fieldStatic        = "static"
	fieldGrants        = "grants"
	fieldEndings       = "endings"
	fieldAccessToken   = "access_token"
	fieldRefreshToken  = "refresh_token"
	fieldIssuedAt      = "issued_at"
	fieldExpiresAt     = "expires_at"
	fieldConnectedAt   = "connected_at"
	fieldUpdatedAt     = "updated_at"
	fieldReason        = "reason"
	fieldReasonAt      = "reason_at"
	fieldClaimID       = "claim_id"
	fieldClaimOwner    = "claim_owner"
	fieldClaimFor      = "claim_for"
	fieldUsedNonces    = "used_nonces"
	fieldWriteID       = "write_id"
)

// ErrCorrupt means that a stored record cannot be read as one. The store has
// answered; asking again will not help.
var ErrCorrupt = errors.New("stored connection is damaged")

// Encode returns the record as the fields that a store writes. The result
// holds the tokens in clear.
func (r Record) Encode() map[string]string {
	fields := maps.Clone(r.Extra)
	if fields == nil {
		fields = make(map[string]string, 23)
	}
	set := func(name, value string) {
		if value != "" {
			fields[name] = value
		}
	}
	set(fieldApp, r.App)
	set(fieldUser, r.User)
	set(fieldStatus, string(r.Status))
	if r.HubID != 0 {
		set(fieldHubID, strconv.FormatInt(r.HubID, 10))
	}
	if r.HubUserID != 0 {
		set(fieldHubUserID, strconv.FormatInt(r.HubUserID, 10))
	}
	set(fieldScopes, strings.Join(r.Scopes, " "))
	set(fieldMissingScopes, strings.Join(r.MissingScopes, " "))
	set(fieldGeneration, r.Generation)
	if r.Rotates {
		set(fieldRotates, "true")
	}
	if r.Static {
		set(fieldStatic, "true")
	}
	set(fieldGrants, strings.Join(r.Grants, " "))
	set(fieldEndings, encodeEndings(r.Endings))
	set(fieldAccessToken, r.AccessToken.Reveal())
	set(fieldRefreshToken, r.RefreshToken.Reveal())
	set(fieldIssuedAt, encodeTime(r.IssuedAt))
	set(fieldExpiresAt, encodeTime(r.ExpiresAt))
	set(fieldConnectedAt, encodeTime(r.ConnectedAt))
	set(fieldUpdatedAt, encodeTime(r.UpdatedAt))
	set(fieldReason, r.Reason)
	set(fieldReasonAt, encodeTime(r.ReasonAt))
	if r.Claim != nil {
		set(fieldClaimID, r.Claim.ID)
		set(fieldClaimOwner, r.Claim.Owner)
		set(fieldClaimFor, r.Claim.For)
	}
	set(fieldUsedNonces, encodeNonces(r.UsedNonces))
	set(fieldWriteID, r.WriteID)
	return fields
}

// Decode reads a record back from its fields. Its errors wrap [ErrCorrupt]
// and name the field, never a value.
func Decode(fields map[string]string) (Record, error) {
	d := decoder{fields: maps.Clone(fields)}
	r := Record{
		Key:           Key{App: d.text(fieldApp), User: d.text(fieldUser)},
		Status:        Status(d.text(fieldStatus)),
		HubID:         d.integer(fieldHubID),
		HubUserID:     d.integer(fieldHubUserID),
		Scopes:        d.list(fieldScopes),
		MissingScopes: d.list(fieldMissingScopes),
		Generation:    d.text(fieldGeneration),
		Rotates:       d.text(fieldRotates) == "true",
		Static:        d.text(fieldStatic) == "true",
		Grants:        d.list(fieldGrants),
		Endings:       d.endings(fieldEndings),
		AccessToken:   secret.New(d.text(fieldAccessToken)),
		RefreshToken:  secret.New(d.text(fieldRefreshToken)),
		IssuedAt:      d.time(fieldIssuedAt),
		ExpiresAt:     d.time(fieldExpiresAt),
		ConnectedAt:   d.time(fieldConnectedAt),
		UpdatedAt:     d.time(fieldUpdatedAt),
		Reason:        d.text(fieldReason),
		ReasonAt:      d.time(fieldReasonAt),
		UsedNonces:    d.nonces(fieldUsedNonces),
		WriteID:       d.text(fieldWriteID),
	}
	claim := Claim{ID: d.text(fieldClaimID), Owner: d.text(fieldClaimOwner), For: d.text(fieldClaimFor)}
	if claim.ID != "" {
		r.Claim = &claim
	}
	if len(d.fields) > 0 {
		r.Extra = d.fields
	}
	if d.err != nil {
		return Record{}, d.err
	}
	return r, r.check()
}

// check refuses a record that no version of this program can have written.
func (r Record) check() error {
	switch {
	case r.App == "" || r.User == "":
		return fmt.Errorf("%w: fields %q and %q must be set", ErrCorrupt, fieldApp, fieldUser)
	case !slices.Contains([]Status{StatusActive, StatusReauthRequired, StatusDisconnecting, StatusDisconnected}, r.Status):
		return fmt.Errorf("%w: field %q has an unknown value", ErrCorrupt, fieldStatus)
	case r.Status == StatusActive && r.Static && r.AccessToken.IsZero():
		return fmt.Errorf("%w: field %q is empty in an active connection", ErrCorrupt, fieldAccessToken)
	case r.Status == StatusActive && !r.Static && r.RefreshToken.IsZero():
		return fmt.Errorf("%w: field %q is empty in an active connection", ErrCorrupt, fieldRefreshToken)
	}
	return nil
}

// decoder takes known fields out of the map; what is left is Extra. It keeps
// the first error.
type decoder struct {
	fields map[string]string
	err    error
}

func (d *decoder) text(name string) string {
	value := d.fields[name]
	delete(d.fields, name)
	return value
}

func (d *decoder) list(name string) []string {
	return strings.Fields(d.text(name))
}

func (d *decoder) integer(name string) int64 {
	value := d.text(name)
	if value == "" {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		d.fail(name)
	}
	return n
}

func (d *decoder) time(name string) time.Time {
	return d.parseTime(name, d.text(name))
}

func (d *decoder) parseTime(name, value string) time.Time {
	if value == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		d.fail(name)
		return time.Time{}
	}
	return t
}

func (d *decoder) nonces(name string) map[string]time.Time {
	var nonces map[string]time.Time
	for _, pair := range d.list(name) {
		nonce, until, ok := strings.Cut(pair, "=")
		if !ok || nonce == "" {
			d.fail(name)
			return nil
		}
		if nonces == nil {
			nonces = make(map[string]time.Time)
		}
		nonces[nonce] = d.parseTime(name, until)
	}
	return nonces
}

func (d *decoder) endings(name string) []Ending {
	endings, err := decodeEndings(d.text(name))
	if err != nil {
		d.fail(name)
	}
	return endings
}

func (d *decoder) fail(name string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: field %q cannot be parsed", ErrCorrupt, name)
	}
}

func encodeTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func encodeNonces(nonces map[string]time.Time) string {
	pairs := make([]string, 0, len(nonces))
	for nonce, until := range nonces {
		pairs = append(pairs, nonce+"="+encodeTime(until))
	}
	return strings.Join(pairs, " ")
}
