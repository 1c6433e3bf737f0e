package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/scopeuse"
)

func scopesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scopes <app> [--drop-unused] [--json]",
		Short: "Prints which scopes the app needs, and the lines for the Caddyfile and for HubSpot",
		Long: `
Prints of each scope of the app how it is configured, how many connections have
granted it, when a call last needed it, and what was refused for want of it by
connections that still lack it: as a table on a terminal, as JSON with --json or
in a pipe. What was needed is learnt from all calls of all sidecars of the store.

Below the table are the lines to paste into the Caddyfile and into
app-hsmeta.json: what is configured, and as optional scopes what is missing.
--drop-unused leaves out what was never needed since the learning began.

The exit code is 0; 1 if there is no such app; 2 if the command was used wrongly
or no sidecar was reached.`,
		Example: `  caddy hubspot scopes hbdev
  caddy hubspot scopes hbdev --drop-unused`,
		Args: cobra.ArbitraryArgs,
	}
	adminFlags(cmd)
	cmd.Flags().Bool("drop-unused", false, "Leave what was never needed out of the lines")
	cmd.Flags().Bool("json", false, "Print JSON on a terminal, too")
	runWithCode(cmd, func(flags caddycmd.Flags) (int, error) {
		return showScopes(cmd, flags.Args(), flags.Bool("drop-unused"), flags.Bool("json"))
	})
	return cmd
}

// showScopes returns the exit code.
func showScopes(cmd *cobra.Command, args []string, dropUnused, asJSON bool) (int, error) {
	if len(args) != 1 || args[0] == "" {
		return exitWrongUse, errors.New("give an app, as in: caddy hubspot scopes hbdev")
	}
	content, err := callAdmin(cmd, http.MethodGet, adminapi.ScopesPath(args[0]), nil)
	if err != nil {
		if isUnknown(err) {
			return exitNotGood, err
		}
		return exitWrongUse, err
	}
	var list adminapi.ScopeList
	if err := json.Unmarshal(content, &list); err != nil {
		return exitWrongUse, fmt.Errorf("reading the answer: %w", err)
	}
	out := cmd.OutOrStdout()
	if asJSON || !isTerminal(out) {
		err = printJSON(out, list)
	} else {
		err = printScopes(out, list, dropUnused, time.Now())
	}
	if err != nil {
		return exitNotGood, err
	}
	return 0, nil
}

// requiredScope is one that every OAuth app has to have, and that no call names.
const requiredScope = "oauth"

// isUnused reports whether a configured scope was never needed.
func isUnused(row scopeuse.Row) bool {
	return row.Configured != scopeuse.NotAsked && row.LastNeeded == nil && row.Missing.Connections == 0 && row.Scope != requiredScope
}

// printScopes prints the table and the lines.
func printScopes(out io.Writer, list adminapi.ScopeList, dropUnused bool, now time.Time) error {
	observed := ago(now.Sub(list.Since))
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "SCOPE\tCONFIGURED\tGRANTED\tLAST NEEDED\tMISSING")
	var unused []string
	for _, row := range list.Scopes {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", shown(row.Scope), row.Configured, row.Granted, lastNeeded(row, observed, now), missing(row.Missing))
		if isUnused(row) {
			unused = append(unused, shown(row.Scope))
		}
	}
	_ = w.Flush()
	fmt.Fprintf(&text, "\nObserved for %s, since %s.\n", observed, list.Since.Format(time.RFC3339))
	if len(unused) > 0 {
		fmt.Fprintf(&text, "Never needed in that time: %s.\n", strings.Join(unused, " "))
	}
	if list.Problem != "" {
		fmt.Fprintf(&text, "Not complete: %s.\n", shown(list.Problem))
	}
	lines, err := scopeLines(suggested(list.Scopes, dropUnused))
	if err != nil {
		return err
	}
	text.WriteString(lines)
	_, err = io.WriteString(out, text.String())
	return err
}

func lastNeeded(row scopeuse.Row, observed string, now time.Time) string {
	switch {
	case row.LastNeeded != nil:
		return ago(now.Sub(*row.LastNeeded)) + " ago"
	case row.Scope == requiredScope:
		return "always"
	case isUnused(row):
		return "never in " + observed
	}
	return "never"
}

// missing says who lacks a scope, and for what.
func missing(m scopeuse.Missing) string {
	if m.Connections == 0 {
		return ""
	}
	text := strconv.Itoa(m.Connections)
	if m.More {
		text += "+"
	}
	text += " of those that called " + strings.Join(m.Endpoints, ", ")
	if len(m.OneOf) > 0 {
		text += " (or " + strings.Join(m.OneOf, ", or ") + ")"
	}
	return text
}

// suggested are the scopes for the settings: those that are there, and those
// that are needed and are not. The latter are optional: an app that requires a
// scope cannot be installed where the account cannot grant it.
func suggested(rows []scopeuse.Row, dropUnused bool) appconfig.Scopes {
	configured := func(scope string) bool {
		return slices.ContainsFunc(rows, func(row scopeuse.Row) bool { return row.Scope == scope && row.Configured != scopeuse.NotAsked })
	}
	var s appconfig.Scopes
	for _, row := range rows {
		switch {
		case dropUnused && isUnused(row):
		case row.Configured == scopeuse.Required:
			s.Required = append(s.Required, row.Scope)
		case row.Configured == scopeuse.Conditional:
			s.Conditional = append(s.Conditional, row.Scope)
		case row.Configured == scopeuse.Optional,
			row.LastNeeded != nil && !slices.ContainsFunc(row.Missing.OneOf, configured):
			s.Optional = append(s.Optional, row.Scope)
		}
	}
	return s
}

// scopeLines are the lines to paste.
func scopeLines(s appconfig.Scopes) (string, error) {
	var text strings.Builder
	text.WriteString("\nFor the app's block in the Caddyfile (not with scopes_from):\n\n")
	for _, line := range []struct {
		setting string
		scopes  []string
	}{{"scopes", s.Required}, {"conditional_scopes", s.Conditional}, {"optional_scopes", s.Optional}} {
		if len(line.scopes) > 0 {
			fmt.Fprintf(&text, "\t%s %s\n", line.setting, strings.Join(line.scopes, " "))
		}
	}
	text.WriteString("\nFor config.auth in app-hsmeta.json, to be uploaded to HubSpot:\n\n")
	lines := make([]string, 0, 3)
	for _, line := range []struct {
		key    string
		scopes []string
	}{{"requiredScopes", s.Required}, {"conditionallyRequiredScopes", s.Conditional}, {"optionalScopes", s.Optional}} {
		if line.scopes == nil {
			line.scopes = []string{}
		}
		value, err := json.Marshal(line.scopes)
		if err != nil {
			return "", err
		}
		lines = append(lines, fmt.Sprintf("\t%q: %s", line.key, value))
	}
	text.WriteString(strings.Join(lines, ",\n") + "\n")
	return text.String(), nil
}

// ago is a duration as people say it.
func ago(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 2*day:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/day), "day")
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}

// shown is a text from outside as a terminal may be given it.
func shown(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
