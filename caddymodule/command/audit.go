package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit <command>",
		Short: "Reads the audit log: proves that it is whole, and shows who used whose account",
	}
	cmd.AddCommand(auditVerifyCommand(), auditShowCommand())
	return cmd
}

func auditVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [<file>...] [--head <hash>] [--from-seq <number>]",
		Short: "Proves that no line of the audit log was changed or removed",
		Long: `
Follows the chain of hashes through the files of an audit log, in whatever
order they are given, and prints how many lines there are, their time and the
head, which is the number and hash of the last line. At the first line that is
not as it was written it says what is wrong, and exits with 1.

The chain alone cannot show that its end was cut off. --head takes the hash of
a line that is known to have been written, from /hubspot/status or Caddy's log,
and fails if it is not there; --from-seq takes the number of a line with which,
or before which, the files must begin.

Without files it reads those of the running Caddy, and takes the head from it.`,
		RunE: func(cmd *cobra.Command, files []string) error {
			options := audit.VerifyOptions{Head: strings.ToLower(cmd.Flag("head").Value.String())}
			options.From, _ = cmd.Flags().GetUint64("from-seq")
			if len(files) == 0 {
				running, err := runningAudit(cmd)
				if err != nil {
					return err
				}
				files, options.Head = running.files, cmp.Or(options.Head, running.head)
			}
			report, err := audit.Verify(files, options)
			if err != nil {
				return err
			}
			printAuditReport(cmd.OutOrStdout(), report)
			if report.Break != nil {
				return report.Break
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "intact")
			return err
		},
	}
	adminFlags(cmd)
	cmd.Flags().String("head", "", "Hash of a line that must be there")
	cmd.Flags().Uint64("from-seq", 0, "Number of the line with which, or before which, the files must begin")
	return cmd
}

func printAuditReport(w io.Writer, r audit.Report) {
	if r.Lines == 0 {
		return // the break says so
	}
	// What cannot be printed cannot be reported either.
	_, _ = fmt.Fprintf(w, "%d lines, %d to %d, from %s to %s\n", r.Lines, r.First, r.Last,
		r.FirstTime.Format(time.RFC3339), r.LastTime.Format(time.RFC3339))
	_, _ = fmt.Fprintf(w, "head %d %s\n", r.Head.Seq, r.Head.Hash)
	if r.Torn > 0 {
		_, _ = fmt.Fprintf(w, "%d times a process ended in the middle of a line; what it left is there\n", r.Torn)
	}
	if r.Lost > 0 {
		_, _ = fmt.Fprintf(w, "%d calls went on without a line\n", r.Lost)
	}
}

func auditShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [<file>...] [--user <id> | --tag <tag>] [--app <app>] [--caller <name>] [--since 30d] [--until <time>] [--json]",
		Short: "Prints the calls for a user, or all of them, and verifies the audit log",
		Long: `
Prints the lines of the audit log that are about calls: those for a user of one
app or of all, of a caller, and within a span of time. --since and --until take
a time such as 2026-09-01T12:00:00Z, a day such as 2026-09-01, or how long ago
that is, such as 30d or 12h.

The log knows users by a tag, which --user asks the running Caddy for; --tag
takes the tag itself, as Caddy's logs have it. Without files it reads those of
the running Caddy.

The chain is verified meanwhile, as by audit verify. If it is broken, the lines
that have their own hash are shown, and the exit code is 1.`,
		RunE: func(cmd *cobra.Command, files []string) error {
			filter, err := auditFilter(cmd, time.Now())
			if err != nil {
				return err
			}
			if len(files) == 0 {
				running, err := runningAudit(cmd)
				if err != nil {
					return err
				}
				files = running.files
			}
			asJSON, _ := cmd.Flags().GetBool("json")
			return showAudit(cmd, files, filter, asJSON)
		},
	}
	adminFlags(cmd)
	for name, usage := range map[string]string{
		"user": "Identifier of the user", "tag": "Tag of the user", "app": "Name of the HubSpot app", "caller": "Name of the caller",
		"since": "Beginning: a time, or how long ago", "until": "End, not included: a time, or how long ago",
	} {
		cmd.Flags().String(name, "", usage)
	}
	cmd.Flags().Bool("json", false, "Print the lines as they stand in the file")
	cmd.MarkFlagsMutuallyExclusive("user", "tag")
	return cmd
}

// auditFilter makes a filter of the flags.
func auditFilter(cmd *cobra.Command, now time.Time) (filter audit.Filter, err error) {
	flag := func(name string) string { return cmd.Flag(name).Value.String() }
	filter.App, filter.Caller = strings.ToLower(flag("app")), flag("caller")
	if filter.Since, err = parseMoment(flag("since"), now); err != nil {
		return filter, fmt.Errorf("since: %w", err)
	}
	if filter.Until, err = parseMoment(flag("until"), now); err != nil {
		return filter, fmt.Errorf("until: %w", err)
	}
	if tag := flag("tag"); tag != "" {
		filter.Users = []audit.User{{Tag: tag}}
	}
	if user := flag("user"); user != "" {
		filter.Users, err = tagsOf(cmd, filter.App, user)
	}
	return filter, err
}

// parseMoment reads a time, or how long ago it is. Empty is no time.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if moment, err := time.Parse(layout, text); err == nil {
			return moment, nil
		}
	}
	ago, err := caddy.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-09-01T12:00:00Z or 2026-09-01 nor a duration such as 30d", text)
	}
	return now.Add(-ago), nil
}

// tagsOf asks the running Caddy for the tags of a user, in one app or in all.
func tagsOf(cmd *cobra.Command, app, user string) ([]audit.User, error) {
	apps := []string{app}
	if app == "" {
		status, err := runningStatus(cmd)
		if err != nil {
			return nil, err
		}
		apps = apps[:0]
		for _, app := range status.Apps {
			apps = append(apps, app.Name)
		}
	}
	users := make([]audit.User, 0, len(apps))
	for _, app := range apps {
		question, err := json.Marshal(adminapi.TagQuestion{User: user})
		if err != nil {
			return nil, err
		}
		content, err := callAdmin(cmd, http.MethodPost, adminapi.TagPath(app), question)
		if err != nil {
			return nil, fmt.Errorf("asking for the user's tag: %w", err)
		}
		var answer adminapi.TagAnswer
		if err := json.Unmarshal(content, &answer); err != nil {
			return nil, fmt.Errorf("asking for the user's tag: %w", err)
		}
		users = append(users, audit.User{App: app, Tag: answer.UserTag})
	}
	return users, nil
}

// running is what the running Caddy says of its audit log.
type running struct {
	files []string
	head  string
}

func runningAudit(cmd *cobra.Command) (running, error) {
	status, err := runningStatus(cmd)
	if err != nil {
		return running{}, err
	}
	if status.Audit == nil {
		return running{}, errors.New("the running config has no audit log: name its files, or set audit in the global option hubspot")
	}
	files, err := audit.Rolled(status.Audit.File)
	if err != nil {
		return running{}, fmt.Errorf("finding the files of the audit log: %w", err)
	}
	return running{files: append(files, status.Audit.File), head: status.Audit.Head.Hash}, nil
}

func runningStatus(cmd *cobra.Command) (status adminapi.Status, err error) {
	content, err := callAdmin(cmd, http.MethodGet, adminapi.StatusPath, nil)
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(content, &status); err != nil {
		return status, fmt.Errorf("reading the answer: %w", err)
	}
	return status, nil
}

// showAudit prints the lines that the filter chooses.
func showAudit(cmd *cobra.Command, files []string, filter audit.Filter, asJSON bool) error {
	out := cmd.OutOrStdout()
	unknown := 0
	someone := filter
	someone.Users = nil
	var failed error
	report, err := audit.Verify(files, audit.VerifyOptions{Visit: func(line audit.Line, raw []byte) {
		switch {
		case failed != nil:
		case filter.Match(line) && asJSON:
			_, failed = fmt.Fprintf(out, "%s\n", raw)
		case filter.Match(line):
			_, failed = fmt.Fprintln(out, auditText(line))
		case line.UserTag == audit.UnknownTag && someone.Match(line):
			unknown++
		}
	}})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if unknown > 0 {
		cmd.PrintErrf("%d more calls are for users whose tag was not known, because the store did not answer at the time\n", unknown)
	}
	if report.Lost > 0 {
		cmd.PrintErrf("%d calls went on without a line\n", report.Lost)
	}
	if report.Break != nil {
		return fmt.Errorf("the audit log is broken: %w", report.Break)
	}
	return nil
}

// auditText is a line for people to read.
func auditText(line audit.Line) string {
	fields := []string{
		line.Time.Format("2006-01-02T15:04:05.000Z07:00"), string(line.Kind), "app=" + line.App, "caller=" + line.Caller, "token=" + line.TokenID,
		"user=" + line.UserTag, "portal=" + nonZero(line.Portal), line.Method, line.Path, nonZero(int64(line.Status)), line.Error,
		"tries=" + nonZero(int64(line.Tries)), line.CorrelationID,
	}
	shown := fields[:0]
	for _, field := range fields {
		if field != "" && !strings.HasSuffix(field, "=") {
			shown = append(shown, field)
		}
	}
	return strings.Join(shown, " ")
}

func nonZero(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
