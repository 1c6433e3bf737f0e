package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func moveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "move [--json]",
		Short: "Moves the connections that are left in the store of migrate_from",
		Long: `
Moves the connections of all apps that are left in the store of migrate_from,
with what is kept beside them, on the running sidecar and while calls are served.
It says how far it is, waits for what a sidecar with the old store alone is
refreshing, and ends when the old store has nothing left: then migrate_from can
go. It can be stopped and run again at any time.

The exit code is 0; 1 if something could not be moved; 2 if the command was used
wrongly or no sidecar was reached.`,
		Example: `  caddy hubspot move`,
		Args:    cobra.ArbitraryArgs,
	}
	adminFlags(cmd)
	cmd.Flags().Bool("json", false, "Print JSON on a terminal, too")
	runWithCode(cmd, func(flags caddycmd.Flags) (int, error) {
		if len(flags.Args()) > 0 {
			return exitWrongUse, errors.New("takes no arguments: all apps are moved")
		}
		run := moveRun{cmd: cmd, sleep: time.Sleep}
		code, err := run.all()
		if err != nil {
			return code, err
		}
		return 0, run.report(flags.Bool("json") || !isTerminal(cmd.OutOrStdout()))
	})
	return cmd
}

const (
	// movePatience is how long it waits for what others are refreshing: more
	// than the lease of a claim, after which that is moved all the same.
	movePatience = 3 * time.Minute
	// movePause is how long it waits before another pass.
	movePause = 3 * time.Second
)

// moveRun moves what is left.
type moveRun struct {
	cmd   *cobra.Command
	sleep func(time.Duration)
	total adminapi.MoveAnswer
}

// all makes passes over all apps until one finds nothing left to do.
func (m *moveRun) all() (int, error) {
	content, err := callAdmin(m.cmd, http.MethodGet, adminapi.StatusPath, nil)
	if err != nil {
		return exitWrongUse, err
	}
	var status adminapi.Status
	if err := json.Unmarshal(content, &status); err != nil {
		return exitWrongUse, fmt.Errorf("reading the answer: %w", err)
	}
	for begun := time.Now(); ; m.sleep(movePause) {
		done := true
		waiting := 0
		for _, app := range status.Apps {
			pass, err := m.app(app.Name)
			if err != nil {
				return exitNotGood, err
			}
			waiting += pass.Waiting
			done = done && pass.Moved+pass.Waiting+pass.Disconnected == 0
		}
		switch {
		case done:
			return 0, nil
		case waiting == 0:
			begun = time.Now() // and one more, to see that nothing is left
		case time.Since(begun) > movePatience:
			return exitNotGood, fmt.Errorf("%d connections are being refreshed over and over by a sidecar that has no migrate_from yet; give it the new settings, and run this again", waiting)
		}
	}
}

// app makes one pass over an app.
func (m *moveRun) app(name string) (pass adminapi.MoveAnswer, err error) {
	order := adminapi.MoveOrder{App: name}
	for shown := time.Now(); ; {
		body, err := json.Marshal(order)
		if err != nil {
			return pass, err
		}
		content, err := callAdmin(m.cmd, http.MethodPost, adminapi.Move, body)
		if err != nil {
			return pass, err
		}
		var answer adminapi.MoveAnswer
		if err := json.Unmarshal(content, &answer); err != nil {
			return pass, fmt.Errorf("reading the answer: %w", err)
		}
		pass.Moved, pass.Left, pass.Waiting = pass.Moved+answer.Moved, pass.Left+answer.Left, pass.Waiting+answer.Waiting
		pass.Disconnected += answer.Disconnected
		m.total.Moved, m.total.Disconnected = m.total.Moved+answer.Moved, m.total.Disconnected+answer.Disconnected
		m.total.Documents += answer.Documents
		if order.After = answer.Next; order.After == "" {
			return pass, nil
		}
		if time.Since(shown) > progressEvery {
			shown = time.Now()
			fmt.Fprintf(m.cmd.ErrOrStderr(), "app %s: %d moved, %d had been before, %d wait\n", name, pass.Moved, pass.Left, pass.Waiting)
		}
	}
}

// report says what was moved.
func (m *moveRun) report(asJSON bool) error {
	const done = "The old store has nothing left: migrate_from can go, from all sidecars."
	if asJSON {
		return json.NewEncoder(m.cmd.OutOrStdout()).Encode(struct {
			Moved        int    `json:"moved"`
			Disconnected int    `json:"disconnected"`
			Documents    int    `json:"documents"`
			Message      string `json:"message"`
		}{m.total.Moved, m.total.Disconnected, m.total.Documents, done})
	}
	_, err := fmt.Fprintf(m.cmd.OutOrStdout(), "%d connections moved, %d disconnected, %d documents. %s\n",
		m.total.Moved, m.total.Disconnected, m.total.Documents, done)
	return err
}
