package command

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/callerapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

func TestConnectionsTable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	well := callerapi.View{User: "acme", HubID: 1, Status: connection.StatusActive, ConnectedAt: now.Add(-72 * time.Hour)}
	dead := callerapi.View{
		User: "globex\x1b[2J", HubID: 2, Status: connection.StatusReauthRequired, ConnectedAt: now.Add(-72 * time.Hour),
		Reason: "BAD_REFRESH_TOKEN", ReasonAt: now.Add(-3 * time.Hour), Links: map[string]string{"reconnect": "https://a.example/?b"},
	}
	page := callerapi.Page{Results: []callerapi.View{well}, Paging: new(callerapi.Paging)}
	page.Paging.Next.After = "cursor"
	for want, page := range map[string]callerapi.Page{
		"USER PORTAL STATUS SINCE REASON acme 1 active 3 days There are more: go on with --after cursor, or print --all.": page,
		`USER PORTAL STATUS SINCE REASON RECONNECT acme 1 active 3 days "globex\x1b[2J" 2 reauth_required 3 hours BAD_REFRESH_TOKEN https://a.example/?b ` +
			"The links work for ten minutes, once each, and connect whoever opens them first.": {Results: []callerapi.View{well, dead}},
	} {
		var out strings.Builder
		if err := printConnections(&out, page, now); err != nil || strings.Join(strings.Fields(out.String()), " ") != want {
			t.Errorf("%v:\n%s", err, out.String())
		}
	}
}

// No value begins a formula in a spreadsheet, whatever a customer is called.
func TestConnectionsCSV(t *testing.T) {
	t.Parallel()
	users := []string{"acme", "=cmd|' /C calc'!A0", "+49 30", "-x", "@sum", "\t=1", "\r=1", "\n=1", " =1", "＝1", "a,b\"c", "", "'=1", "a=1"}
	var page callerapi.Page
	for _, user := range users {
		page.Results = append(page.Results, callerapi.View{
			User: user, HubID: 7, Status: connection.StatusReauthRequired, Scopes: []string{"=a", "b"}, Reason: "@r",
			ConnectedAt: time.Unix(0, 0), Links: map[string]string{"reconnect": "https://a.example"},
		})
	}
	var out strings.Builder
	if err := printConnectionsCSV(&out, page); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.ReplaceAll(out.String(), "\r", "<CR>"))).ReadAll()
	if err != nil || len(rows) != len(users)+1 {
		t.Fatalf("%d rows, %v:\n%s", len(rows), err, out.String())
	}
	for i, row := range rows[1:] {
		for column, text := range row {
			if strings.ContainsAny(strings.TrimLeft(text, " ")[:min(1, len(strings.TrimLeft(text, " ")))], "=+-@\t\n") || strings.HasPrefix(text, "<CR>") || strings.HasPrefix(text, "＝") {
				t.Errorf("%q: column %d is %q", users[i], column, text)
			}
		}
		if want := strings.ReplaceAll(users[i], "\r", "<CR>"); strings.TrimPrefix(row[0], "'") != strings.TrimPrefix(want, "'") || row[5] != "1970-01-01T00:00:00Z" || row[4] != "" || row[9] != "https://a.example" {
			t.Errorf("%q: %q", users[i], row)
		}
	}
}
