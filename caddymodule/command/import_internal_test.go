package command

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
)

// What turns a terminal's text around comes escaped: a user's name is anybody's.
func TestLinesOfOddUsers(t *testing.T) {
	t.Parallel()
	const odd, escaped = "acme\u202egnp", `"acme\u202egnp"`
	var imported, receipt bytes.Buffer
	cmd := new(cobra.Command)
	cmd.SetOut(&imported)
	run := &importRun{cmd: cmd}
	run.print(importLine{Line: 1, User: odd, ImportResult: adminapi.ImportResult{Result: "imported", HubID: 7}})
	if err := printReceipt(&receipt, callerapi.Receipt{User: odd, HubID: 7, At: time.Unix(0, 0)}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{imported.String(), receipt.String()} {
		if strings.Contains(text, odd) || !strings.Contains(text, escaped) {
			t.Errorf("%q; want the user as %s", text, escaped)
		}
	}
}
