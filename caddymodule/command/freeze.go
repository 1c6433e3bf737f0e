package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func freezeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "freeze [--app <name>] [--user <id>] [--caller <name>] [--writes] [--all] [--reason <text>]",
		Short: "Has calls refused, by all sidecars of the store",
		Long: `
Has calls refused with 403 frozen until unfreeze: by every sidecar that shares
the store within five seconds, and after restarts. All that is given has to
match; --writes stops only calls that may change something; --all is
everything. It returns when the store has taken it, and prints all freezes.

Tokens are refreshed as before, so that nothing is lost. Connections can still
be listed and ended, unless it is their caller that is frozen.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return orderFreeze(cmd, http.MethodPost) },
	}
	freezeFlags(cmd)
	cmd.Flags().String("reason", "", "Why, for other operators; callers are not told")
	return cmd
}

func unfreezeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unfreeze [--app <name>] [--user <id>] [--caller <name>] [--writes] [--all]",
		Short: "Lifts a freeze",
		Long: `
Lifts the freeze that was made with exactly these flags, and prints those that
are left. --all alone lifts all of them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return orderFreeze(cmd, http.MethodDelete) },
	}
	freezeFlags(cmd)
	return cmd
}

func freezesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "freezes [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Prints what is frozen, as JSON",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askAdmin(cmd, http.MethodGet, adminapi.Freezes)
		},
	}
	adminFlags(cmd)
	return cmd
}

func freezeFlags(cmd *cobra.Command) {
	adminFlags(cmd)
	cmd.Flags().String("app", "", "A HubSpot app")
	cmd.Flags().String("user", "", "A user, to the letter")
	cmd.Flags().String("caller", "", "A caller")
	cmd.Flags().Bool("writes", false, "Only calls that may change something")
	cmd.Flags().Bool("all", false, "Everything")
}

// orderFreeze sends what the flags say. An empty one is taken for a variable
// that was not set: left out, it would mean more than the operator does.
func orderFreeze(cmd *cobra.Command, method string) error {
	text := func(name string) string {
		if flag := cmd.Flag(name); flag != nil {
			return flag.Value.String()
		}
		return ""
	}
	for _, name := range []string{"app", "user", "caller"} {
		if cmd.Flag(name).Changed && text(name) == "" {
			return fmt.Errorf("--%s is empty; leave it out to mean any", name)
		}
	}
	var order adminapi.FreezeOrder
	order.App, order.User, order.Caller = text("app"), text("user"), text("caller")
	order.Writes, order.All = text("writes") == "true", text("all") == "true"
	order.Reason = text("reason")
	if current, err := user.Current(); err == nil && method == http.MethodPost {
		order.By = current.Username
	}
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	return tellAdmin(cmd, method, adminapi.Freezes, body)
}
