package command

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
)

func TestQuotaTable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	var out strings.Builder
	err := printQuotas(&out, adminapi.QuotaList{App: "hbdev", Quotas: []adminapi.PortalQuota{
		{HubID: 62515, Quota: "burst", Limit: 110, WindowSeconds: 10, Used: 7, Left: 103, Waiting: 2, Shared: true},
		{HubID: 62515, Quota: "search", Limit: 5, WindowSeconds: 1, ClosedUntil: now.Add(40 * time.Second), ClosedBecause: "so it is"},
	}}, now)
	want := `PORTAL  QUOTA   LIMIT      USED  LEFT  WAITING  SHARED  CLOSED
62515   burst   110 in 10s  7     103   2        yes     no
62515   search  5 in 1s     0     0     0        no      for 40s: so it is
`
	if fields := strings.Fields; err != nil || strings.Join(fields(out.String()), " ") != strings.Join(fields(want), " ") {
		t.Errorf("%v:\n%s", err, out.String())
	}
	out.Reset()
	if err := printQuotas(&out, adminapi.QuotaList{App: "hbdev"}, now); err != nil || out.String() != "The app hbdev has sent nothing lately.\n" {
		t.Errorf("%v: %s", err, out.String())
	}
}
