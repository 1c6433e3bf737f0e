// Package command is the command caddy hubspot: it looks after a running
// sidecar through Caddy's admin API, reads audit logs, and runs a sandbox
// HubSpot.
package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "hubspot",
		Usage: "<command>",
		Short: "Looks after the HubSpot sidecar, and runs a sandbox HubSpot",
		Long: `
Looks after a running HubSpot sidecar through Caddy's admin API, and runs a
sandbox HubSpot to develop and test against.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(statusCommand(), connectionsCommand(), disconnectCommand(),
				freezeCommand(), unfreezeCommand(), freezesCommand(), auditCommand(), sandboxCommand())
			cmd.AddCommand(quotaCommand())
			cmd.AddCommand(scopesCommand())
			cmd.AddCommand(importCommand(), moveCommand(), exportCommand())
			cmd.AddCommand(webhooksCommand())
		},
	})
}

// adminFlags say where the running Caddy is, with the names that Caddy's own
// commands use.
func adminFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "Configuration file to read the admin address from")
	cmd.Flags().StringP("adapter", "a", "", "Name of the config adapter for it")
	cmd.Flags().String("address", "", "Address of the admin API, if it is not the default")
}

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Prints the apps, their alarms and the state of the store, as JSON",
		Long: `
Prints the configured HubSpot apps, what is wrong with any of them, and
whether the connection store can be reached, as JSON.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askAdmin(cmd, http.MethodGet, adminapi.StatusPath)
		},
	}
	adminFlags(cmd)
	return cmd
}

// callAdmin makes a call of the admin API, with a body of JSON or none, and
// returns the answer's.
func callAdmin(cmd *cobra.Command, method, uri string, body []byte) ([]byte, error) {
	answer, err := openAdmin(cmd, method, uri, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Close() }()
	content, err := io.ReadAll(answer)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return content, nil
}

// openAdmin is callAdmin for an answer that is read bit by bit. The caller
// closes it.
func openAdmin(cmd *cobra.Command, method, uri string, body []byte) (io.ReadCloser, error) {
	flag := func(name string) string { return cmd.Flag(name).Value.String() }
	address, err := caddycmd.DetermineAdminAPIAddress(flag("address"), nil, flag("config"), flag("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin API: %w", err)
	}
	// The client is a new one each time: its connection must not stay open.
	header := http.Header{"Connection": {"close"}}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, uri, header, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// askAdmin makes a call of the admin API and prints its JSON.
func askAdmin(cmd *cobra.Command, method, uri string) error {
	return tellAdmin(cmd, method, uri, nil)
}

// tellAdmin is askAdmin with a body of JSON.
func tellAdmin(cmd *cobra.Command, method, uri string, body []byte) error {
	content, err := callAdmin(cmd, method, uri, body)
	if err != nil || len(content) == 0 {
		return err
	}
	var answer any
	if err := json.Unmarshal(content, &answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return printJSON(cmd.OutOrStdout(), answer)
}
