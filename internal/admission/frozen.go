package admission

import (
	"context"
	"errors"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

// NothingFrozen reports whether nothing is frozen and that is known. It costs
// one atomic load.
func (d *Desk) NothingFrozen() bool { return d.freezes.None() }

// CheckFrozen refuses a call that an operator has frozen, and one of which that
// is not known yet. It belongs after the caller's policy, which is not to be
// told by it what exists. The error is an [*apierror.Error].
func (d *Desk) CheckFrozen(ctx context.Context, c freeze.Call) error {
	if d.freezes.None() {
		return nil
	}
	f, err := d.freezes.Check(ctx, c)
	switch {
	case err != nil:
		return apierror.Wrap(apierror.StoreUnavailable,
			"The connection store does not answer, so that it is not known here yet what operators have frozen. Try again soon.", err)
	case f == nil:
		return nil
	}
	e := apierror.New(apierror.Frozen, frozenMessage(f.Selector))
	e.Context = map[string][]string{"app": {c.App}, "dimension": f.Dimensions()}
	return e
}

// CheckInstallFrozen is CheckFrozen for an install, which changes something;
// caller is empty for a browser.
func (d *Desk) CheckInstallFrozen(ctx context.Context, app, user, caller string) error {
	return d.CheckFrozen(ctx, freeze.Call{App: app, User: user, Caller: caller, Writes: true})
}

// IsFrozen reports whether err is the answer to what is frozen.
func IsFrozen(err error) bool {
	e, ok := errors.AsType[*apierror.Error](err)
	return ok && e.SubCategory == apierror.Frozen
}

// frozenMessage says what is frozen, without a name.
func frozenMessage(s freeze.Selector) string {
	var parts []string
	if s.Caller != "" {
		parts = append(parts, "of this caller")
	}
	if s.User != "" {
		parts = append(parts, "for this user")
	}
	if s.App != "" {
		parts = append(parts, "to this app")
	}
	what := "all calls"
	if len(parts) > 0 {
		what = "the calls " + strings.Join(parts, " ")
	}
	if s.Writes {
		what += " that may change something"
	}
	return "An operator has frozen " + what + ". Nothing was sent to HubSpot. Trying again does not help before an operator lifts it."
}
