package command

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
)

func connectionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connections <app> [<user>] [--status <status>] [--all] [--csv | --json]",
		Short: "Prints the connections of an app, or the one of a user",
		Long: `
Prints the connections of an app: user, portal and status, and for those that
need a reconnect why, since when, and a link; never a token. They are a table on
a terminal, JSON with --json or in a pipe, and CSV with --csv. With a user it
prints that one connection, as JSON; a user that begins with a dash comes
behind all flags and --.

--status active, reauth_required or disconnecting prints those only. A list comes in
pages, of --limit or fewer; --after takes the cursor that the page before it ends
with, and --all prints all pages.

A link asks for what the user had granted. It works for ten minutes and once, and
connects whoever opens it first, as that user.

In CSV, what a spreadsheet would take for a formula has a ' in front: for
programs there is JSON.

The exit code is 0; 1 if there is no such app or connection; 2 if the command was
used wrongly or no sidecar was reached.`,
		Example: `  caddy hubspot connections hbdev --status reauth_required --all
  caddy hubspot connections hbdev --all --csv > connections.csv`,
		Args: cobra.RangeArgs(1, 2),
	}
	adminFlags(cmd)
	cmd.Flags().Int("limit", adminapi.DefaultLimit, "Connections in a page, at the most")
	cmd.Flags().String("after", "", "Cursor to go on from")
	cmd.Flags().String("status", "", "Only those with this status")
	cmd.Flags().Bool("all", false, "Print all pages")
	cmd.Flags().Bool("csv", false, "Print CSV")
	cmd.Flags().Bool("json", false, "Print JSON on a terminal, too")
	runWithCode(cmd, func(flags caddycmd.Flags) (int, error) {
		if args := flags.Args(); len(args) == 2 {
			return codeOf(askAdmin(cmd, http.MethodGet, adminapi.ConnectionPath(args[0], args[1])))
		}
		return codeOf(listConnections(cmd, flags))
	})
	takesUser(cmd)
	return cmd
}

// errWrongUse means that flags contradict each other.
var errWrongUse = errors.New("use either")

// codeOf is the exit code for an error of asking the admin API. Caddy's client
// tells the status in the text only.
func codeOf(err error) (int, error) {
	switch {
	case err == nil:
		return 0, nil
	case strings.Contains(err.Error(), "HTTP ") && !strings.Contains(err.Error(), "HTTP 400"):
		return exitNotGood, err
	}
	return exitWrongUse, err
}

// listConnections prints a page of connections, or all.
func listConnections(cmd *cobra.Command, flags caddycmd.Flags) error {
	if flags.Bool("csv") && flags.Bool("json") {
		return fmt.Errorf("%w --csv or --json", errWrongUse)
	}
	query := url.Values{"limit": {flags.String("limit")}}
	if flags.Bool("all") && !cmd.Flag("limit").Changed {
		query.Set("limit", strconv.Itoa(adminapi.MaxLimit))
	}
	for _, name := range []string{"after", "status"} {
		if cmd.Flag(name).Changed {
			query.Set(name, flags.String(name))
		}
	}
	var page callerapi.Page
	for {
		next, err := connectionsPage(cmd, flags.Arg(0), query)
		if err != nil {
			return err
		}
		page.Results = append(page.Results, next.Results...)
		page.Paging = next.Paging
		// One with a status may be behind many pages that have none.
		if page.Paging == nil || !flags.Bool("all") && len(page.Results) > 0 {
			break
		}
		query.Set("after", page.Paging.Next.After)
	}
	out := cmd.OutOrStdout()
	switch {
	case flags.Bool("csv"):
		if page.Paging != nil {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "There are more: go on with --after %s, or print --all\n", page.Paging.Next.After)
		}
		return printConnectionsCSV(out, page)
	case flags.Bool("json"), !isTerminal(out):
		return printJSON(out, page)
	}
	return printConnections(out, page, time.Now())
}

func connectionsPage(cmd *cobra.Command, app string, query url.Values) (page callerapi.Page, err error) {
	content, err := callAdmin(cmd, http.MethodGet, adminapi.Connections+"/"+url.PathEscape(app)+"?"+query.Encode(), nil)
	if err != nil {
		return page, err
	}
	if err := json.Unmarshal(content, &page); err != nil {
		return page, fmt.Errorf("reading the answer: %w", err)
	}
	return page, nil
}

// reconnectLink is the link of a connection that needs it.
func reconnectLink(v callerapi.View) string { return v.Links["reconnect"] }

// printConnections prints a table.
func printConnections(out io.Writer, page callerapi.Page, now time.Time) error {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	header := "USER\tPORTAL\tSTATUS\tSINCE\tREASON"
	links := slices.ContainsFunc(page.Results, func(v callerapi.View) bool { return reconnectLink(v) != "" })
	if links {
		header += "\tRECONNECT"
	}
	_, _ = fmt.Fprintln(w, header)
	for _, v := range page.Results {
		since := v.ConnectedAt
		if !v.ReasonAt.IsZero() {
			since = v.ReasonAt
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s", shown(v.User), v.HubID, v.Status, ago(now.Sub(since)), shown(v.Reason))
		if links {
			_, _ = fmt.Fprintf(w, "\t%s", reconnectLink(v))
		}
		_, _ = fmt.Fprintln(w)
	}
	_ = w.Flush()
	if links {
		text.WriteString("\nThe links work for ten minutes, once each, and connect whoever opens them first.\n")
	}
	if page.Paging != nil {
		fmt.Fprintf(&text, "\nThere are more: go on with --after %s, or print --all.\n", page.Paging.Next.After)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// printConnectionsCSV prints lines that a spreadsheet can be given.
func printConnectionsCSV(out io.Writer, page callerapi.Page) error {
	w := csv.NewWriter(out)
	_ = w.Write([]string{
		"userForeignIdentifier", "hubId", "status", "reason", "reasonAt", "connectedAt", "expiresAt", "scopes", "missingScopes", "reconnect",
	})
	for _, v := range page.Results {
		_ = w.Write([]string{
			cell(v.User), strconv.FormatInt(v.HubID, 10), cell(string(v.Status)), cell(v.Reason), csvTime(v.ReasonAt), csvTime(v.ConnectedAt),
			csvTime(v.ExpiresAt), cell(strings.Join(v.Scopes, " ")), cell(strings.Join(v.MissingScopes, " ")), cell(reconnectLink(v)),
		})
	}
	w.Flush()
	return w.Error()
}

func csvTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// cell makes a text harmless that a spreadsheet would run as a formula
// (https://owasp.org/www-community/attacks/CSV_Injection); the wide forms of the
// signs are read as the signs by some.
func cell(text string) string {
	if first := strings.TrimLeft(text, " "); first != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(first)[0]) {
		return "'" + text
	}
	return text
}
