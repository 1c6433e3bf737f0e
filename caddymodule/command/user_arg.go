package command

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

// takesUser has a command whose arguments are an app and a user say what to do
// about a user that begins with a dash: that is taken for a flag. It comes
// after the command's flags and Args are set.
func takesUser(cmd *cobra.Command) {
	hint := func(err error) error {
		return wrongUse(cmd, fmt.Errorf("%w; a user that begins with a dash is taken for a flag: put it behind all flags and --, as in: caddy hubspot %s hbdev -- -x",
			err, cmd.Name()))
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return hint(err) })
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return hint(err)
		}
		return nil
	}
	help := cmd.Flags().VarPF(&helpFlag{cmd: cmd}, "help", "h", "Help for "+cmd.Name())
	help.NoOptDefVal = "true"
}

// helpFlag is the flag --help, where it may be meant for a user: behind an app.
// Help that is printed then, with success, would be taken for the work done.
type helpFlag struct {
	cmd   *cobra.Command
	asked bool
}

var errHelpBehindApp = errors.New("help is asked for behind an app")

// Set implements [pflag.Value].
//
// [pflag.Value]: https://pkg.go.dev/github.com/spf13/pflag#Value
func (f *helpFlag) Set(value string) error {
	if f.cmd.Flags().NArg() > 0 {
		return errHelpBehindApp
	}
	asked, err := strconv.ParseBool(value)
	f.asked = asked
	return err
}

// String returns true or false, as cobra expects.
func (f *helpFlag) String() string { return strconv.FormatBool(f.asked) }

// Type is that of a flag, as cobra expects.
func (f *helpFlag) Type() string { return "bool" }
