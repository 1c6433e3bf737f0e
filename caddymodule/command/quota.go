package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func quotaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quota <app> [<portal>] [--reset] [--json]",
		Short: "Prints what is used of HubSpot's limits, and forgets what HubSpot has said of them",
		Long: `
Prints, of each portal (HubSpot account) that the app has sent requests to
lately, or of one, what may be sent in the window, what is used and left, how
many requests wait, whether others use the portal too, and until when and why
nothing is sent: as a table on a terminal, as JSON with --json or in a pipe.

--reset has the sidecar forget what HubSpot has said of its limits, and of
others; what was sent in the window stays counted. It is for an account that
is held back although HubSpot would take its requests: that ends by itself,
within a minute, as soon as HubSpot takes one.

The exit code is 0; 1 if nothing is known of the app or portal; 2 if the
command was used wrongly or no sidecar was reached.`,
		Example: `  caddy hubspot quota hbdev
  caddy hubspot quota hbdev 62515 --reset`,
		Args: cobra.ArbitraryArgs,
	}
	adminFlags(cmd)
	cmd.Flags().Bool("reset", false, "Forget what HubSpot has said")
	cmd.Flags().Bool("json", false, "Print JSON on a terminal, too")
	runWithCode(cmd, func(flags caddycmd.Flags) (int, error) {
		return showQuota(cmd, flags.Args(), flags.Bool("reset"), flags.Bool("json"))
	})
	return cmd
}

// showQuota returns the exit code.
func showQuota(cmd *cobra.Command, args []string, reset, asJSON bool) (int, error) {
	app, portal, err := quotaArgs(args)
	if err != nil {
		return exitWrongUse, err
	}
	method := http.MethodGet
	if reset {
		method = http.MethodDelete
	}
	content, err := callAdmin(cmd, method, adminapi.QuotaPath(app, portal), nil)
	if err != nil {
		if isUnknown(err) {
			return exitNotGood, err
		}
		return exitWrongUse, err
	}
	var list adminapi.QuotaList
	if err := json.Unmarshal(content, &list); err != nil {
		return exitWrongUse, fmt.Errorf("reading the answer: %w", err)
	}
	out := cmd.OutOrStdout()
	if !asJSON && isTerminal(out) {
		err = printQuotas(out, list, time.Now())
	} else {
		err = printJSON(out, list)
	}
	if err != nil {
		return exitNotGood, err
	}
	return 0, nil
}

func quotaArgs(args []string) (app string, portal int64, err error) {
	if len(args) < 1 || len(args) > 2 || args[0] == "" {
		return "", 0, errors.New("give an app, and a portal if only that is meant, as in: caddy hubspot quota hbdev 62515")
	}
	if len(args) == 2 {
		if portal, err = strconv.ParseInt(args[1], 10, 64); err != nil || portal < 1 {
			return "", 0, fmt.Errorf("%q is not the number of a portal", args[1])
		}
	}
	return args[0], portal, nil
}

// isUnknown reports whether the sidecar does not know what was asked for.
// Caddy's client tells the status in the text only.
func isUnknown(err error) bool {
	text := err.Error()
	return strings.Contains(text, "HTTP 404") && (strings.Contains(text, "there is no app") || strings.Contains(text, "nothing is known of portal"))
}

// printQuotas prints a table.
func printQuotas(out io.Writer, list adminapi.QuotaList, now time.Time) error {
	if len(list.Quotas) == 0 {
		_, err := fmt.Fprintf(out, "The app %s has sent nothing lately.\n", list.App)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows := []string{"PORTAL\tQUOTA\tLIMIT\tUSED\tLEFT\tWAITING\tSHARED\tCLOSED"}
	for _, q := range list.Quotas {
		shared, closed := "no", "no"
		if q.Shared {
			shared = "yes"
		}
		if !q.ClosedUntil.IsZero() {
			closed = fmt.Sprintf("for %v: %s", max(q.ClosedUntil.Sub(now), 0).Round(time.Second), q.ClosedBecause)
		}
		window := time.Duration(q.WindowSeconds * float64(time.Second))
		rows = append(rows, fmt.Sprintf("%d\t%s\t%d in %v\t%d\t%d\t%d\t%s\t%s", q.HubID, q.Quota, q.Limit, window, q.Used, q.Left, q.Waiting, shared, closed))
	}
	if _, err := fmt.Fprintln(w, strings.Join(rows, "\n")); err != nil {
		return err
	}
	return w.Flush()
}
