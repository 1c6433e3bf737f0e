package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
)

func disconnectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disconnect <app> <user> [--uninstall] [--json]",
		Short: "Ends a connection: revokes the grant and destroys the stored tokens",
		Long: `
Ends the connection of a user: destroys every stored version of its tokens,
revokes the grant at HubSpot and, with --uninstall, removes the app from the
HubSpot account. Where another connection stands on the grant or on the
account, HubSpot is left as it is, and the receipt says shared. What HubSpot
cannot be asked for now is pending, and tried again until it is done: the user
is disconnected here all the same. It cannot be undone; the user can install
the app again.

Prints the receipt as a table on a terminal, as JSON with --json or in a pipe.
A user that begins with a dash comes behind all flags and --.

The exit code is 0, also while something is pending; 1 if there is no such
connection or it could not be ended; 2 if the command was used wrongly or no
sidecar was reached.`,
		Example: `  caddy hubspot disconnect hbdev acme
  caddy hubspot disconnect hbdev acme --uninstall`,
		Args: cobra.ExactArgs(2),
	}
	adminFlags(cmd)
	cmd.Flags().Bool("uninstall", false, "Remove the app from the HubSpot account, too")
	cmd.Flags().Bool("json", false, "Print JSON on a terminal, too")
	takesUser(cmd)
	cmd.RunE = caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
		return disconnect(cmd, flags.Args(), flags.Bool("uninstall"), flags.Bool("json"))
	})
	return cmd
}

// disconnect returns the exit code.
func disconnect(cmd *cobra.Command, args []string, uninstall, asJSON bool) (int, error) {
	if args[0] == "" || args[1] == "" {
		return exitWrongUse, errors.New("give an app and a user, as in: caddy hubspot disconnect hbdev acme")
	}
	path := adminapi.ConnectionPath(args[0], args[1])
	if uninstall {
		path += "?uninstall=true"
	}
	content, err := callAdmin(cmd, http.MethodDelete, path, nil)
	if err != nil {
		if isAnswer(err) {
			return exitNotGood, err
		}
		return exitWrongUse, err
	}
	var receipt callerapi.Receipt
	if err := json.Unmarshal(content, &receipt); err != nil {
		return exitNotGood, fmt.Errorf("reading the answer: %w", err)
	}
	out := cmd.OutOrStdout()
	if !asJSON && isTerminal(out) {
		err = printReceipt(out, receipt)
	} else {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(receipt)
	}
	if err != nil {
		return exitNotGood, err
	}
	return 0, nil
}

// isAnswer reports whether an error is what a sidecar has answered. Caddy's
// client tells that in the text only.
func isAnswer(err error) bool {
	return strings.Contains(err.Error(), "HTTP ") && !strings.Contains(err.Error(), "no global option hubspot")
}

// printReceipt prints a table.
func printReceipt(out io.Writer, r callerapi.Receipt) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	destroyed := "no"
	if r.Destroyed {
		destroyed = "yes"
	}
	_, err := fmt.Fprintf(w, "USER\tPORTAL\tREVOKED\tUNINSTALLED\tDESTROYED\tAT\n%s\t%d\t%s\t%s\t%s\t%s\n",
		shown(r.User), r.HubID, r.Revoked, r.Uninstalled, destroyed, r.At.Format("2006-01-02 15:04:05Z07:00"))
	if err != nil {
		return err
	}
	return w.Flush()
}
