// Command aggregation reports on a customer's HubSpot account: how many contacts
// there are in each lifecycle stage, and the deals that close in a period, with
// their amounts, by stage.
//
//	CRM_SYNC_KEY=… go run . -user acme -from 2026-01-01 -until 2027-01-01
//
// All of it comes from searches, of which HubSpot takes five a second for an
// account, and gives no more than 10,000 results each.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

// lifecycleStages are HubSpot's own. An account may have others.
const lifecycleStages = "subscriber lead marketingqualifiedlead salesqualifiedlead opportunity customer evangelist other"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "aggregation:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("aggregation", flag.ContinueOnError)
	user := flags.String("user", "", "the customer, by the identifier with which it was connected")
	var period interval
	flags.Func("from", "the first day of the period, as in 2026-01-01", dayInto(&period.from))
	flags.Func("until", "the day after the last one", dayInto(&period.until))
	if err := flags.Parse(args); err != nil {
		return err
	}
	key := os.Getenv("CRM_SYNC_KEY")
	switch {
	case key == "":
		return errors.New("CRM_SYNC_KEY: is not set; it is the key of a caller of the sidecar")
	case *user == "":
		return errors.New("-user: is missing")
	case !period.from.Before(period.until):
		return errors.New("-from and -until: both are needed, and from has to be before until")
	}
	hubspot := newClient(cmp.Or(os.Getenv("SIDECAR_URL"), "http://localhost:8080"), key, *user)

	stages, err := countContacts(ctx, hubspot, strings.Fields(lifecycleStages))
	if err != nil {
		return fmt.Errorf("counting contacts: %w", err)
	}
	deals, err := sumDeals(ctx, hubspot, period)
	if err != nil {
		return fmt.Errorf("adding up deals: %w", err)
	}
	return write(out, stages, deals)
}

// dayInto reads a day, in UTC.
func dayInto(target *time.Time) func(string) error {
	return func(text string) (err error) {
		*target, err = time.Parse(time.DateOnly, text)
		return err
	}
}
