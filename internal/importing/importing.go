// Package importing takes in connections that were made elsewhere. HubSpot is
// asked what each of them is, which uses nothing up: whose app and account, and
// whether it lives. What is not as it says is refused.
package importing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
)

// Outcome is what became of a record.
type Outcome string

// The outcomes.
const (
	// Imported is a record that was stored; in a dry run, that would have been.
	Imported Outcome = "imported"
	// Exists is a record whose user has a live connection.
	Exists Outcome = "exists"
	// Refused is a record that is not taken.
	Refused Outcome = "refused"
)

// Result says what became of one record.
type Result struct {
	Outcome Outcome
	// HubID is the portal of what was imported.
	HubID int64
	// MissingScopes are scopes of the app's settings that were not granted.
	MissingScopes []string
	// Field and Reason say why the record was refused. Field is empty where
	// it is about the record as a whole.
	Field, Reason string
}

// Options say how to import.
type Options struct {
	// DryRun asks everything and stores nothing.
	DryRun bool
	// Overwrite lets records take the place of live connections and of those
	// that were disconnected.
	Overwrite bool
}

// ErrHubSpotAway means that HubSpot gave no answer about a record. Asking again
// later helps.
var ErrHubSpotAway = errors.New("HubSpot did not answer")

// expiring is the rest of an access token's life that is not worth asking for.
const expiring = time.Minute

// Importer imports into one app. It is safe for concurrent use.
type Importer struct {
	App *hubapp.App
	// Audit is the audit log, nil for none.
	Audit *audit.Log
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

func (i *Importer) now() time.Time {
	if i.Now == nil {
		return time.Now()
	}
	return i.Now()
}

// Import takes one record in. It waits for its turn at HubSpot as long as ctx
// allows. An error says that nothing was found out about the record, so that it
// can be given again: it wraps ErrHubSpotAway, [connection.ErrAppMisconfigured],
// [connection.ErrUnavailable], [connection.ErrDenied], or is ctx's.
func (i *Importer) Import(ctx context.Context, r importfile.Record, o Options) (Result, error) {
	result, err := i.decide(ctx, r, o)
	if err == nil && !o.DryRun {
		i.record(r.User, result)
	}
	return result, err
}

// record puts an import into the audit log. One that changed nothing, because
// it was done before, has no line of its own.
func (i *Importer) record(user string, result Result) {
	if i.Audit == nil || result.Outcome == Exists {
		return
	}
	entry := audit.Entry{
		Kind: audit.KindImport, App: i.App.Name, User: user, Tagger: i.App.Manager,
		Portal: result.HubID, Status: http.StatusCreated,
	}
	if result.Outcome == Refused {
		entry.Status, entry.Error = http.StatusUnprocessableEntity, "import_refused"
	}
	i.Audit.Record(entry)
}

func (i *Importer) decide(ctx context.Context, r importfile.Record, o Options) (Result, error) {
	if i.App.Settings.Static {
		return i.decideStatic(ctx, r, o)
	}
	if r.RefreshToken.IsZero() {
		return refuse(importfile.FieldToken, "the app %s is no static app: give a refreshToken", i.App.Name), nil
	}
	wanted := connection.Import{
		User: r.User, HubID: r.HubID, RefreshToken: r.RefreshToken,
		Asked: i.App.AskedScopes(), Overwrite: o.Overwrite,
	}
	if goes, err := i.App.Manager.CanImport(ctx, wanted); !goes {
		return standing(err)
	}
	if refused, err := i.describe(ctx, r, &wanted); err != nil || refused != nil {
		return deref(refused), err
	}
	return i.store(ctx, wanted, o)
}

// store stores what HubSpot has confirmed; in a dry run it looks only.
func (i *Importer) store(ctx context.Context, wanted connection.Import, o Options) (Result, error) {
	last := i.App.Manager.Import
	if o.DryRun {
		last = i.App.Manager.CanImport
	}
	if goes, err := last(ctx, wanted); !goes {
		return standing(err)
	}
	return Result{Outcome: Imported, HubID: wanted.HubID, MissingScopes: missing(wanted)}, nil
}

func missing(i connection.Import) []string {
	var missing []string
	granted := make(map[string]bool, len(i.Scopes))
	for _, scope := range i.Scopes {
		granted[scope] = true
	}
	for _, scope := range i.Asked {
		if !granted[scope] {
			missing = append(missing, scope)
		}
	}
	return missing
}

func deref(r *Result) Result {
	if r == nil {
		return Result{}
	}
	return *r
}

func refuse(field, format string, args ...any) Result {
	return Result{Outcome: Refused, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// standing is the result where the Manager does not take a record.
func standing(err error) (Result, error) {
	switch {
	case err == nil:
		return Result{Outcome: Exists}, nil
	case errors.Is(err, connection.ErrDisconnected):
		return refuse(importfile.FieldUser, "was disconnected here, and does not come back unless told so (overwrite)"), nil
	case errors.Is(err, connection.ErrPortalChange):
		return refuse(importfile.FieldHubID, "%v; disconnect the user before another account is imported", err), nil
	case errors.Is(err, connection.ErrGrantEnded):
		return refuse(importfile.FieldRefreshToken, "%v", err), nil
	case errors.Is(err, connection.ErrCorrupt):
		return refuse(importfile.FieldUser, "%v", err), nil
	}
	return Result{}, err
}

// describe asks HubSpot about the tokens of a record and fills in what it says.
func (i *Importer) describe(ctx context.Context, r importfile.Record, wanted *connection.Import) (*Result, error) {
	credentials, err := i.App.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	told, err := i.ask(ctx, func(ctx context.Context) (hubspot.Introspection, error) {
		return i.App.Client.Introspect(ctx, r.RefreshToken, hubspot.KindRefreshToken)
	})
	if err != nil {
		return nil, err
	}
	if refused := judge(r, told, credentials.ClientID); refused != nil {
		return refused, nil
	}
	wanted.HubID, wanted.Scopes = told.HubID, told.Scopes
	if i.App.Settings.UserLevel {
		if told.UserID == 0 {
			refused := refuse(importfile.FieldRefreshToken, "HubSpot does not say which person it is of, to whom a connection of a user-level app is pinned")
			return &refused, nil
		}
		wanted.HubUserID = told.UserID
	}
	if r.AccessToken.IsZero() || !r.ExpiresAt.IsZero() && r.ExpiresAt.Sub(i.now()) < expiring {
		return nil, nil
	}
	asked := i.now()
	access, err := i.ask(ctx, func(ctx context.Context) (hubspot.Introspection, error) {
		return i.App.Client.Introspect(ctx, r.AccessToken, hubspot.KindAccessToken)
	})
	switch {
	case err != nil:
		return nil, err
	case access.Active && access.HubID != 0 && access.HubID != told.HubID:
		refused := refuse(importfile.FieldAccessToken, "is of another account (%d) than the refreshToken (%d)", access.HubID, told.HubID)
		return &refused, nil
	case access.Active && access.HubID == told.HubID && access.ExpiresIn > expiring && strings.EqualFold(access.ClientID, credentials.ClientID):
		wanted.AccessToken, wanted.IssuedAt, wanted.ExpiresAt = r.AccessToken, asked, asked.Add(access.ExpiresIn)
	}
	return nil, nil
}

// judge holds what HubSpot says of a refresh token against the record.
func judge(r importfile.Record, told hubspot.Introspection, clientID string) *Result {
	var refused Result
	switch {
	case !told.Active:
		refused = refuse(importfile.FieldRefreshToken, "HubSpot does not know it as one of this app: it was revoked, the app was uninstalled, or it is another app's")
	case told.ClientID != "" && !strings.EqualFold(told.ClientID, clientID):
		refused = refuse(importfile.FieldRefreshToken, "HubSpot says that it is another app's")
	case told.HubID == 0:
		refused = refuse(importfile.FieldRefreshToken, "HubSpot does not say which account it is of")
	case r.HubID != 0 && r.HubID != told.HubID:
		refused = refuse(importfile.FieldHubID, "is %d, and HubSpot says that the refreshToken is of account %d", r.HubID, told.HubID)
	default:
		return nil
	}
	return &refused
}

// ask asks HubSpot one thing in its turn.
func (i *Importer) ask(ctx context.Context, question func(context.Context) (hubspot.Introspection, error)) (hubspot.Introspection, error) {
	var answer hubspot.Introspection
	err := i.App.Manager.InTurn(ctx, func(ctx context.Context) (err error) {
		answer, err = question(ctx)
		return err
	})
	switch {
	case err == nil, ctx.Err() != nil:
		return answer, err
	case hubspot.Classify(err) == hubspot.ClassMisconfigured:
		return answer, fmt.Errorf("%w: %w", connection.ErrAppMisconfigured, err)
	}
	return answer, fmt.Errorf("%w: %w", ErrHubSpotAway, err)
}

// RetryAfter is how long it makes no sense to give a record again after err; at
// least a second.
func RetryAfter(err error) time.Duration {
	wait := time.Second
	if refusal, ok := errors.AsType[*hubspot.TokenError](err); ok {
		wait = max(wait, min(refusal.RetryAfter, time.Minute))
	}
	return wait
}

// String says what became of a record.
func (r Result) String() string {
	text := string(r.Outcome)
	if r.Outcome != Refused {
		if r.HubID != 0 {
			text += " (account " + strconv.FormatInt(r.HubID, 10) + ")"
		}
		return text
	}
	if r.Field != "" {
		text += ": " + r.Field
	}
	return text + ": " + r.Reason
}
