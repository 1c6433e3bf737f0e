package caddymodule

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// enforce makes an answer of what a caller's policy says, which is nil for
// permission. With dry_run nothing is refused: what would have been is written
// down, under the correlation id that is returned. user is empty where the
// refusal is about no user.
func (h *hubApp) enforce(ctx context.Context, caller *access.Caller, user string, refusal error) (dryRun string, refused *apierror.Error) {
	if refusal == nil {
		return "", nil
	}
	refused = policyError(refusal)
	if !caller.DryRun() {
		return "", refused
	}
	h.noteDryRun(ctx, caller, user, refused)
	return refused.CorrelationID, nil
}

// noteDryRun writes down and counts a refusal that is none.
func (h *hubApp) noteDryRun(ctx context.Context, caller *access.Caller, user string, refused *apierror.Error) {
	// A path that can be read in two ways is a matter of the path, too.
	dimension, rule := access.DimensionPath, ""
	if denial, ok := errors.AsType[*access.Denial](refused); ok {
		dimension, rule = denial.Dimension, denial.Rule
	}
	h.app.metrics.dryRunRefusals.WithLabelValues(h.name, caller.Name(), string(dimension)).Inc()
	fields := []zap.Field{
		zap.String("app", h.name), zap.String("caller", caller.Name()), zap.String("dimension", string(dimension)),
		zap.Int("status", refused.Status), zap.String("correlation_id", refused.CorrelationID), zap.Error(refused),
	}
	if rule != "" {
		fields = append(fields, zap.String("rule", rule))
	}
	if user != "" {
		fields = append(fields, zap.String("user_tag", h.manager.Tag(ctx, user)))
	}
	h.app.logger.Warn("dry_run: a request would have been refused", fields...)
}

// mayList returns which users a list may show by the caller's policy, and what
// is to be called after the list: with dry_run everybody is shown, and that
// somebody would have been hidden is noted once.
func (in admission) mayList(ctx context.Context) (show func(user string) bool, listed func()) {
	if !in.caller.DryRun() {
		return in.caller.MayUser, func() {}
	}
	var hidden error
	show = func(user string) bool {
		if !in.caller.MayUser(user) {
			hidden = &access.Denial{Caller: in.caller.Name(), Dimension: access.DimensionUser}
		}
		return true
	}
	return show, func() { _, _ = in.app.enforce(ctx, in.caller, "", hidden) }
}
