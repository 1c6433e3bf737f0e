package admission

import (
	"context"
	"errors"
	"log/slog"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// PolicyError maps what a caller's policy says to an answer: an
// [*access.Denial], or a path that has two readings.
func PolicyError(err error) *apierror.Error {
	denial, ok := errors.AsType[*access.Denial](err)
	if !ok {
		return apierror.Bad(err)
	}
	e := apierror.Wrap(apierror.CallerForbidden, apierror.Sentence(err), err)
	e.Context = map[string][]string{"dimension": {string(denial.Dimension)}}
	return e
}

// Enforce makes an answer of what a caller's policy says, which is nil for
// permission. With dry_run nothing is refused: what would have been is written
// down, under the correlation id that is returned. user is empty where the
// refusal is about no user. The error is an [*apierror.Error].
func (d *Desk) Enforce(ctx context.Context, app *hubapp.App, caller *access.Caller, user string, refusal error) (dryRun string, err error) {
	if refusal == nil {
		return "", nil
	}
	refused := PolicyError(refusal)
	if !caller.DryRun() {
		return "", refused
	}
	d.noteDryRun(ctx, app, caller, user, refused)
	return refused.CorrelationID, nil
}

// noteDryRun writes down and counts a refusal that is none.
func (d *Desk) noteDryRun(ctx context.Context, app *hubapp.App, caller *access.Caller, user string, refused *apierror.Error) {
	// A path that can be read in two ways is a matter of the path, too.
	dimension, rule := access.DimensionPath, ""
	if denial, ok := errors.AsType[*access.Denial](refused); ok {
		dimension, rule = denial.Dimension, denial.Rule
	}
	d.metrics.DryRunRefusal(app.Name, caller.Name(), string(dimension))
	fields := []slog.Attr{
		slog.String("app", app.Name), slog.String("caller", caller.Name()), slog.String("dimension", string(dimension)),
		slog.Int("status", refused.Status), slog.String("correlation_id", refused.CorrelationID), slog.Any("error", refused),
	}
	if rule != "" {
		fields = append(fields, slog.String("rule", rule))
	}
	if user != "" {
		fields = append(fields, slog.String("user_tag", app.Manager.Tag(ctx, user)))
	}
	d.logger.LogAttrs(ctx, slog.LevelWarn, "dry_run: a request would have been refused", fields...)
}
