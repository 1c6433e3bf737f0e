package command

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export <app> [--output <file>]",
		Short: "Writes the connections of an app down, sealed to a public key",
		Long: `
Writes all live connections of an app, tokens included, to a file, or to standard
output where that is no terminal. It is sealed with age to the keys of the
setting export_to, without which the sidecar refuses: age -d -i <key> opens it,
and what comes is what the command import reads.

The exit code is 0; 1 if the sidecar refuses or the end was not reached; 2 if the
command was used wrongly.`,
		Example: `  caddy hubspot export hbdev --output connections.age
  age -d -i key.txt connections.age | caddy hubspot import hbdev -`,
		Args: cobra.ArbitraryArgs,
	}
	adminFlags(cmd)
	cmd.Flags().StringP("output", "o", "", "File to write; default: standard output")
	runWithCode(cmd, func(flags caddycmd.Flags) (int, error) {
		if len(flags.Args()) != 1 || flags.Arg(0) == "" {
			return exitWrongUse, errors.New("give an app, as in: caddy hubspot export hbdev --output connections.age")
		}
		name := flags.String("output")
		if name == "" && isTerminal(cmd.OutOrStdout()) {
			return exitWrongUse, errors.New("an export is no text: give --output, or send it into a pipe")
		}
		answer, err := openAdmin(cmd, http.MethodGet, adminapi.ExportPath(flags.Arg(0)), nil)
		if err != nil {
			return exitNotGood, err
		}
		defer func() { _ = answer.Close() }()
		if name == "" {
			_, err = io.Copy(cmd.OutOrStdout(), answer)
		} else {
			err = writeWhole(name, answer)
		}
		if err != nil {
			return exitNotGood, fmt.Errorf("the export broke off and is of no use: %w", err)
		}
		return 0, nil
	})
	return cmd
}

// writeWhole writes a file that nobody else can read, and that is there only if
// it is whole.
func writeWhole(name string, content io.Reader) error {
	// CreateTemp gives the file mode 0600.
	temp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = io.Copy(temp, content)
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}
