package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

// scopes serves /hubspot/scopes/<app>. All connections of the app are listed
// for it.
func scopes(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodGet); err != nil {
		return 0, nil, err
	}
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), adminapi.Scopes+"/"))
	if err != nil {
		return 0, nil, failure(http.StatusBadRequest, "the path is not /hubspot/scopes/<app>, percent-encoded")
	}
	app, ok := s.App(name)
	if !ok {
		return 0, nil, failure(http.StatusNotFound, "there is no app %q", name)
	}
	report := s.ScopeUse().Report(ctx, app.Name)
	table := scopeuse.NewTable(report, app.Settings.Scopes)
	var problems []string
	if report.Problem != nil {
		problems = append(problems, fmt.Sprintf("what other sidecars have learnt may be missing: %v", report.Problem))
	}
	if counted, err := countScopes(ctx, app, table); err != nil {
		problems = append(problems, fmt.Sprintf("only %d connections are counted: %v", counted, err))
	}
	return http.StatusOK, adminapi.ScopeList{
		App: app.Name, Since: report.Since.UTC(), Scopes: table.Rows(), Problem: strings.Join(problems, "; "),
	}, nil
}

// countScopes counts the connections of an app in a table.
func countScopes(ctx context.Context, app *hubapp.App, table *scopeuse.Table) (counted int, err error) {
	all := func(string) bool { return true }
	for cursor := ""; ; {
		summaries, next, err := app.Manager.List(ctx, cursor, adminapi.MaxLimit, all)
		if err != nil {
			return counted, err
		}
		for _, summary := range summaries {
			tag := ""
			if table.NeedsTags() {
				tag = app.Manager.Tag(ctx, summary.User)
			}
			table.Count(tag, summary.Scopes)
			counted++
		}
		if next == "" {
			return counted, nil
		}
		cursor = next
	}
}
