package caddymodule

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

// frozen returns the answer to a call that an operator has frozen, and to one
// of which that is not known yet; nil for all others. It belongs after the
// caller's policy, which is not to be told by it what exists. Where nothing
// is frozen it costs one atomic load.
func (a *App) frozen(ctx context.Context, c freeze.Call) *apierror.Error {
	if a.freezes.None() {
		return nil
	}
	f, err := a.freezes.Check(ctx, c)
	switch {
	case err != nil:
		return apierror.Wrap(apierror.StoreUnavailable,
			"It is not known here yet what operators have frozen, and the connection store does not say. Try again soon.", err)
	case f == nil:
		return nil
	}
	e := apierror.New(apierror.Frozen, frozenMessage(f.Selector))
	e.Context = map[string][]string{"dimension": f.Dimensions()}
	return e
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

// isFrozen reports whether err is an answer to what is frozen.
func isFrozen(err error) bool {
	e, ok := errors.AsType[*apierror.Error](err)
	return ok && e.SubCategory == apierror.Frozen
}

// checkFrozen refuses a call that an operator has frozen. It waits no longer
// than the call may.
func (c *call) checkFrozen(ctx context.Context) error {
	if c.proxy.app.freezes.None() {
		return nil
	}
	wait := c.patience(ctx)
	defer wait.end()
	err := c.proxy.app.frozen(wait, freeze.Call{
		App: c.proxy.hub.name, User: c.user, Caller: c.callerName(), Writes: c.mayChange(),
	})
	if err == nil {
		return nil
	}
	return err
}

// mayChange reports whether the call is not known to change nothing. A POST
// whose path has more than one reading may: HubSpot chooses which.
func (c *call) mayChange() bool {
	if !c.onlyReads() {
		return true
	}
	if c.method != http.MethodPost {
		return false
	}
	readings, err := access.Readings(c.target.path)
	return err != nil || len(readings) != 1
}

// checkInstallFrozen refuses to begin or finish an install that an operator
// has frozen; caller is empty for a browser. An install changes something.
func (h *hubApp) checkInstallFrozen(ctx context.Context, user, caller string) error {
	if err := h.app.frozen(ctx, freeze.Call{App: h.name, User: user, Caller: caller, Writes: true}); err != nil {
		return err
	}
	return nil
}

// checkFrozen judges whether the caller's request is frozen. c lacks the app
// and the caller.
func (in admission) checkFrozen(ctx context.Context, c freeze.Call) *apierror.Error {
	c.App, c.Caller = in.app.name, in.caller.Name()
	err := in.app.app.frozen(ctx, c)
	if err != nil && err.Context != nil {
		err.Context["app"] = []string{in.app.name}
	}
	return err
}

// maySee returns which users a list may show, those whose connection the
// caller could ask for one by one, and what is to be called after the list:
// with dry_run, that the policy would have hidden somebody is noted once.
func (in admission) maySee(ctx context.Context) (show func(user string) bool, listed func()) {
	show, listed = in.mayList(ctx)
	if in.app.app.freezes.None() {
		return show, listed
	}
	permitted := show
	show = func(user string) bool {
		return permitted(user) && in.checkFrozen(ctx, freeze.Call{User: user, Tending: true}) == nil
	}
	return show, listed
}

// freezesChanged writes down what was frozen and what was lifted, here or at
// another sidecar. Users are there by their tags, which each app has its own
// of; reasons are free text and may name anybody.
func (a *App) freezesChanged(added, lifted []freeze.Freeze) {
	for _, f := range added {
		a.logger.Warn("an operator has frozen calls", a.freezeFields(f)...)
	}
	for _, f := range lifted {
		a.logger.Info("an operator has lifted a freeze", a.freezeFields(f)...)
	}
}

func (a *App) freezeFields(f freeze.Freeze) []zap.Field {
	fields := []zap.Field{zap.Strings("dimensions", f.Dimensions()), zap.Time("since", f.Since)}
	if f.App != "" {
		fields = append(fields, zap.String("app", f.App))
	}
	if f.Caller != "" {
		fields = append(fields, zap.String("caller", f.Caller))
	}
	if f.User != "" {
		fields = append(fields, zap.Strings("user_tags", a.tags(f.App, f.User)))
	}
	if f.By != "" {
		fields = append(fields, zap.String("by", f.By))
	}
	return fields
}

// tags are those of a user in one app, or in all.
func (a *App) tags(app, user string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), tagTimeout)
	defer cancel()
	var tags []string
	for _, name := range slices.Sorted(maps.Keys(a.hubApps)) {
		if app == "" || strings.EqualFold(app, name) {
			tags = append(tags, a.hubApps[name].manager.Tag(ctx, user))
		}
	}
	return tags
}
