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

func webhooksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhooks [list | dead | retry <id> | retry --all | drop <id>] [--json]",
		Short: "Prints webhooks that wait to be delivered, and sends or drops dead letters",
		Long: `
Prints the webhooks in the queues of hubspot_webhook, the dead letters first:
those that the app behind has refused too often. dead prints those alone. It
is a table on a terminal, and JSON with --json or in a pipe; of the events
nothing is shown.

retry sends a dead letter again, or all of them, under the same id and
beginning with attempt 1. drop forgets one, which cannot be undone.

The exit code is 0; 1 if there is no such dead letter, or the queue does not
answer; 2 if the command was used wrongly or no sidecar was reached.`,
		Example: `  caddy hubspot webhooks dead
  caddy hubspot webhooks retry --all`,
		Args: cobra.ArbitraryArgs,
	}
	adminFlags(cmd)
	cmd.Flags().Bool("all", false, "Retry all dead letters")
	cmd.Flags().Bool("json", false, "Print JSON on a terminal, too")
	cmd.Flags().Int("limit", adminapi.DefaultWebhooks, "Most that are printed")
	cmd.RunE = caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
		return runWebhooks(cmd, flags.Args(), flags.Bool("all"), flags.Bool("json"))
	})
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitWrongUse, err })(cmd, nil)
	})
	return cmd
}

var errWebhooksUse = errors.New("say list, dead, retry <id>, retry --all or drop <id>")

// runWebhooks returns the exit code.
func runWebhooks(cmd *cobra.Command, args []string, all, asJSON bool) (int, error) {
	verb, id := "list", ""
	if len(args) > 0 {
		verb = args[0]
	}
	if len(args) > 1 {
		id = args[1]
	}
	ordersOne := id != "" && !all && len(args) == 2
	switch {
	case (verb == "list" || verb == "dead") && len(args) < 2 && !all:
		return listWebhooks(cmd, verb, asJSON)
	case verb == "retry" && (ordersOne || all && len(args) == 1):
		return orderWebhooks(cmd, adminapi.WebhooksRetry, adminapi.WebhookOrder{ID: id, All: all})
	case verb == "drop" && ordersOne:
		return orderWebhooks(cmd, adminapi.WebhooksDrop, adminapi.WebhookOrder{ID: id})
	}
	return exitWrongUse, errWebhooksUse
}

func listWebhooks(cmd *cobra.Command, verb string, asJSON bool) (int, error) {
	uri := adminapi.Webhooks + "?limit=" + cmd.Flag("limit").Value.String()
	if verb == "dead" {
		uri += "&state=" + adminapi.WebhookDead
	}
	content, err := callAdmin(cmd, http.MethodGet, uri, nil)
	if err != nil {
		return webhooksExit(err), err
	}
	var list []adminapi.Webhook
	if err := json.Unmarshal(content, &list); err != nil {
		return exitWrongUse, fmt.Errorf("reading the answer: %w", err)
	}
	out := cmd.OutOrStdout()
	if !asJSON && isTerminal(out) {
		err = printWebhooks(out, list, time.Now())
	} else {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(list)
	}
	if err != nil {
		return exitNotGood, err
	}
	return 0, nil
}

func orderWebhooks(cmd *cobra.Command, uri string, order adminapi.WebhookOrder) (int, error) {
	body, err := json.Marshal(order)
	if err != nil {
		return exitNotGood, err
	}
	if err := tellAdmin(cmd, http.MethodPost, uri, body); err != nil {
		return webhooksExit(err), err
	}
	return 0, nil
}

// webhooksExit tells what a sidecar has answered from not reaching one. Caddy's
// client has the status in the text only.
func webhooksExit(err error) int {
	text := err.Error()
	if strings.Contains(text, "HTTP 404") && strings.Contains(text, "there is no dead letter") || strings.Contains(text, "HTTP 503") {
		return exitNotGood
	}
	return exitWrongUse
}

// printWebhooks prints a table.
func printWebhooks(out io.Writer, list []adminapi.Webhook, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "There are none.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows := []string{"ID\tSTATE\tAPP\tPORTAL\tEVENTS\tATTEMPTS\tSINCE\tLAST\tSTATUS"}
	ago := func(t time.Time) string { return max(now.Sub(t), 0).Round(time.Second).String() }
	for _, e := range list {
		portal, last, status := "several", "never", "none"
		if e.Portal != 0 {
			portal = strconv.FormatInt(e.Portal, 10)
		}
		if e.LastAt != nil {
			last = ago(*e.LastAt) + " ago"
		}
		if e.LastStatus != 0 {
			status = strconv.Itoa(e.LastStatus)
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s", e.ID, e.State, e.App, portal, e.Events, e.Attempts, ago(e.FirstAt), last, status))
	}
	if _, err := fmt.Fprintln(w, strings.Join(rows, "\n")); err != nil {
		return err
	}
	return w.Flush()
}
