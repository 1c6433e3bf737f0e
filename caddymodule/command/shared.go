package command

import (
	"encoding/json"
	"io"
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Exit codes of the commands that tell more than success and failure.
const (
	exitNotGood  = 1
	exitWrongUse = 2
)

// runWithCode has a command exit with the code that a function returns, and with
// exitWrongUse where its flags are wrong.
func runWithCode(cmd *cobra.Command, run caddycmd.CommandFunc) {
	cmd.RunE = caddycmd.WrapCommandFuncForCobra(run)
	cmd.SetFlagErrorFunc(wrongUse)
}

// wrongUse has a command exit with exitWrongUse because of an error.
func wrongUse(cmd *cobra.Command, err error) error {
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitWrongUse, err })(cmd, nil)
}

// isTerminal reports whether people read what is written to w.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printJSON prints a value for programs, and for people who ask for it.
func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
