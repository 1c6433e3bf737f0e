package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import <app> <file|-> [--format jsonl|csv|nango] [--dry-run] [--overwrite] [--json]",
		Short: "Takes in connections that were made elsewhere",
		Long: `
Takes in connections that were made elsewhere, from a file or, with -, from
standard input: one record a line, such as

  {"userForeignIdentifier":"acme","refreshToken":"na1-…","hubId":62515}

with accessToken, expiresAt and scopes where they are known, and token in place
of all tokens for a static app. --format csv has these names as its first line,
and nango takes Nango's connection objects; a file named *.csv is taken for csv.

HubSpot is asked about each record, which uses no token up: whether it lives,
and of which app and account it is. What became of it is printed line by line:
imported, exists, or refused with the reason, and the rest goes on. Running it
again changes nothing, so that it goes on where it was stopped. It keeps to the
refresh_quota of the app.

A live connection is left as it is, unless --overwrite is given, and so is what
was disconnected here. A connection whose user would have to install the app
again is replaced. --dry-run stores nothing.

The exit code is 0; 1 if a line was refused, or the end was not reached; 2 if
the command was used wrongly or no sidecar was reached.`,
		Example: `  caddy hubspot import hbdev connections.jsonl --dry-run
  caddy hubspot import hbdev connections.csv
  my-export | caddy hubspot import hbdev -`,
		Args: cobra.ArbitraryArgs,
	}
	adminFlags(cmd)
	cmd.Flags().String("format", "", "Format of the file: jsonl, csv or nango")
	cmd.Flags().Bool("dry-run", false, "Ask HubSpot about all records, and store none")
	cmd.Flags().Bool("overwrite", false, "Replace live connections too, and bring back what was disconnected")
	cmd.Flags().Bool("json", false, "Print JSON on a terminal, too")
	runWithCode(cmd, func(flags caddycmd.Flags) (int, error) {
		if len(flags.Args()) != 2 || flags.Arg(0) == "" {
			return exitWrongUse, errors.New("give an app and a file, as in: caddy hubspot import hbdev connections.jsonl")
		}
		in, closeFile, err := openImport(cmd, flags.Arg(1))
		if err != nil {
			return exitWrongUse, err
		}
		defer closeFile()
		reader, err := importfile.NewReader(in, importFormat(flags.String("format"), flags.Arg(1)))
		if err != nil {
			return exitWrongUse, err
		}
		run := importRun{
			cmd: cmd, app: flags.Arg(0), sleep: time.Sleep, refused: make(map[int]bool),
			order:  adminapi.ImportOrder{DryRun: flags.Bool("dry-run"), Overwrite: flags.Bool("overwrite")},
			asJSON: flags.Bool("json") || !isTerminal(cmd.OutOrStdout()),
		}
		return run.all(reader)
	})
	return cmd
}

// openImport opens the file of an import; - is standard input.
func openImport(cmd *cobra.Command, name string) (io.Reader, func(), error) {
	if name == "-" {
		return cmd.InOrStdin(), func() {}, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		_ = file.Close()
		return nil, nil, err
	case info.IsDir():
		_ = file.Close()
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	case info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0:
		fmt.Fprintf(cmd.ErrOrStderr(), "%s can be read by others on this machine: chmod 600 it, and delete it when it has served.\n", name)
	}
	return file, func() { _ = file.Close() }, nil
}

func importFormat(flag, name string) importfile.Format {
	switch {
	case flag != "":
		return importfile.Format(flag)
	case strings.EqualFold(filepath.Ext(name), ".csv"):
		return importfile.CSV
	}
	return importfile.JSONLines
}

const (
	// importPatience is how long an import waits for what is in its way, while
	// nothing gets done.
	importPatience = 5 * time.Minute
	// progressEvery is how often it says how far it is.
	progressEvery = 10 * time.Second
)

// importRun is one import of a file.
type importRun struct {
	cmd    *cobra.Command
	app    string
	order  adminapi.ImportOrder
	asJSON bool
	sleep  func(time.Duration)

	// items are those that were read and not reported, in order.
	items []importfile.Item
	// refused are the lines that were refused.
	refused map[int]bool
	// counts are results by their name.
	counts            map[string]int
	lines             int
	reached           bool
	begun, progressed time.Time
}

// importLine is what is printed of a record.
type importLine struct {
	Line int    `json:"line"`
	User string `json:"userForeignIdentifier,omitempty"`
	adminapi.ImportResult
}

// all imports until the end of the file and returns the exit code.
func (i *importRun) all(reader *importfile.Reader) (int, error) {
	i.counts = make(map[string]int)
	i.begun = time.Now()
	i.progressed = i.begun
	for {
		item, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			if code, err := i.send(); err != nil {
				return code, err
			}
			i.summary()
			if n := i.counts["refused"]; n > 0 {
				return exitNotGood, fmt.Errorf("lines that were refused: %d", n)
			}
			return 0, nil
		case err != nil:
			if code, err := i.send(); err != nil {
				return code, err
			}
			i.summary()
			return exitNotGood, fmt.Errorf("%w; what stands behind line %d was not read", err, i.lines)
		}
		i.items = append(i.items, item)
		if len(i.items) == adminapi.MaxImports {
			if code, err := i.send(); err != nil {
				return code, err
			}
		}
	}
}

// send has the sidecar import what was read, and prints what became of it. Its
// error is that the import stops here.
func (i *importRun) send() (int, error) {
	since := time.Now()
	for {
		i.report(nil)
		if len(i.items) == 0 {
			return 0, nil
		}
		answer, err := i.ask()
		if err != nil && (!i.reached || isRefusal(err)) {
			if isUnknown(err) {
				return exitNotGood, err
			}
			return exitWrongUse, err
		}
		wait := time.Second
		if err == nil {
			i.reached = true
			if len(answer.Results) > 0 {
				since = time.Now()
			}
			i.report(answer.Results)
			if answer.Problem == nil {
				continue
			}
			wait = time.Duration(answer.Problem.RetryAfter) * time.Second
			err = errors.New(answer.Problem.Message)
			if answer.Problem.Code == "app_misconfigured" {
				return exitNotGood, i.stopped(err)
			}
		}
		if time.Since(since)+wait > importPatience {
			return exitNotGood, i.stopped(err)
		}
		i.sleep(wait)
	}
}

// isRefusal reports whether the sidecar has answered that it will not do it.
func isRefusal(err error) bool { return strings.Contains(err.Error(), "HTTP 4") }

func (i *importRun) stopped(err error) error {
	i.summary()
	return fmt.Errorf("stopped before line %d: %w. Running it again goes on from there", i.items[0].Line, err)
}

// ask sends the records that are left of what was read.
func (i *importRun) ask() (answer adminapi.ImportAnswer, err error) {
	order := i.order
	for _, item := range i.items {
		if item.Err != nil || item.Repeats > 0 {
			continue
		}
		raw, err := json.Marshal(item.Record)
		if err != nil {
			return answer, err
		}
		order.Records = append(order.Records, raw)
	}
	body, err := json.Marshal(order)
	if err != nil {
		return answer, err
	}
	content, err := callAdmin(i.cmd, http.MethodPost, adminapi.ImportsPath(i.app), body)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return answer, fmt.Errorf("reading the answer: %w", err)
	}
	return answer, nil
}

// report prints the items for which there are results, and those that need
// none.
func (i *importRun) report(results []adminapi.ImportResult) {
	for len(i.items) > 0 {
		item := i.items[0]
		line := importLine{Line: item.Line, User: item.Record.User}
		switch {
		case item.Err != nil:
			line.User, line.Result, line.Reason = "", "refused", item.Err.Error()
			if odd, ok := errors.AsType[*importfile.FieldError](item.Err); ok {
				line.Field, line.Reason = odd.Field, odd.Err.Error()
			}
		case i.refused[item.Repeats]:
			line.Result, line.Reason = "refused", fmt.Sprintf("is the same as line %d, which was refused", item.Repeats)
		case item.Repeats > 0:
			line.Result, line.Reason = "exists", fmt.Sprintf("is the same as line %d", item.Repeats)
		case len(results) == 0:
			return
		default:
			line.ImportResult, results = results[0], results[1:]
		}
		i.items = i.items[1:]
		if line.Result == "refused" {
			i.refused[item.Line] = true
		}
		i.lines, i.counts[line.Result] = item.Line, i.counts[line.Result]+1
		i.print(line)
	}
	if time.Since(i.progressed) > progressEvery {
		i.progressed = time.Now()
		i.summary()
	}
}

func (i *importRun) print(line importLine) {
	out := i.cmd.OutOrStdout()
	if i.asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(line)
		return
	}
	text := fmt.Sprintf("line %-6d  %-8s  %s", line.Line, line.Result, shown(line.User))
	if line.HubID != 0 {
		text += fmt.Sprintf("  account %d", line.HubID)
	}
	if len(line.MissingScopes) > 0 {
		text += "  without " + strings.Join(line.MissingScopes, " ")
	}
	if line.Field != "" {
		text += "  " + shown(line.Field) + ":"
	}
	if line.Reason != "" {
		text += " " + shown(line.Reason)
	}
	fmt.Fprintln(out, text)
}

// summary says how far the import is.
func (i *importRun) summary() {
	imported := "imported"
	if i.order.DryRun {
		imported = "would be imported"
	}
	fmt.Fprintf(i.cmd.ErrOrStderr(), "up to line %d: %d %s, %d exist, %d refused, in %v\n", i.lines,
		i.counts["imported"], imported, i.counts["exists"], i.counts["refused"], time.Since(i.begun).Round(time.Second))
}
