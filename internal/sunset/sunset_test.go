package sunset

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
)

func TestFind(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/crm/v3/objects/contacts":                            "/*/v3/*",
		"/crm/v3/objects/contacts/":                           "/*/v3/*",
		"/crm-object-schemas/v3/schemas":                      "/*/v3/*",
		"/crm/v4/objects/deals/1/associations/companies":      "/*/v4/*",
		"/crm/objects/2026-09/contacts":                       "/*/2026-09/*",
		"/crm/objects/2026-03/contacts/v3":                    "/*/2026-03/*",
		"/crm/v3/extensions/cards/7":                          "/crm/v3/extensions/cards/*",
		"/crm/v3/extensions/cards":                            "/*/v3/*",
		"/crm/v3/extensions/cardsharp/7":                      "/*/v3/*",
		"/contacts/v1/lists":                                  "/contacts/v1/lists",
		"/contacts/v1/lists/12/contacts":                      "/contacts/v1/lists/*",
		"/contacts/v1/lists/all/contacts/all":                 "/contacts/v1/lists/all/contacts/all",
		"/contacts/v1/lists/recently_updated/contacts/recent": "/contacts/v1/lists/recently_updated/contacts/recent",
		"/contacts/v1/contact/vid/7/profile":                  "/contacts/v1/contact/vid/*/profile",
		"/contacts/v1/contact/vid/7/8/profile":                "/contacts/v1/contact/vid/*/profile",
		"/contacts/v1/contact/vid/profile":                    "/*/v1/*",
		"/crm-pipelines/v1/pipelines/deals":                   "/crm-pipelines/v1/*",
		"/form-integrations/v1/submissions/forms":             "/*/v1/*",
		"/forms/v1/x":                          "/forms/v1/*",
		"/crm/objects/2027-03/contacts":        "",
		"/crm/v3":                              "",
		"/v3/contacts":                         "",
		"/crm/v33/objects":                     "",
		"/":                                    "",
		"":                                     "",
		"//":                                   "",
		"/crm//v3//objects":                    "/*/v3/*",
		"/" + strings.Repeat("a/", 2000) + "b": "",
		"/contacts/v1/contact/vid/" + strings.Repeat("a/", 2000): "/*/v1/*",
	} {
		got := ""
		if e := Find(path); e != nil {
			got = e.Family
		}
		if got != want {
			t.Errorf("%.60s is of %q, want %q", path, got, want)
		}
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	Find("/crm")
	if n := testing.AllocsPerRun(100, func() { Find("/crm/v3/extensions/cards/7") }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// The table is whole: every ending has a page of HubSpot's and a known effect.
func TestPublished(t *testing.T) {
	t.Parallel()
	n := 0
	check := func(e *Ending) {
		n++
		if !strings.HasPrefix(e.Source, "https://developers.hubspot.com/") || e.What == "" || e.Ends.IsZero() ||
			e.Effect != Fails && e.Effect != Partial && e.Effect != Unsupported {
			t.Errorf("%+v", e)
		}
	}
	for _, family := range published().named {
		for _, e := range family {
			check(e)
		}
	}
	for _, e := range published().versions {
		check(e)
	}
	if n < 20 {
		t.Errorf("there are %d endings", n)
	}
}

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestNear(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		day  string
		want bool
		left int
	}{
		{"2027-02-28", false, 0},
		{"2027-03-02", true, 365},
		{"2028-02-29", true, 1},
		{"2028-03-01", true, 0},
		{"2028-03-02", true, -1},
		{"2030-01-01", true, -671},
	} {
		now := day(tt.day)
		e := Near("/crm/objects/2026-09/contacts", now)
		if (e != nil) != tt.want {
			t.Errorf("on %s the ending of 2028-03 is spoken of: %v", tt.day, e != nil)
		}
		if e != nil && e.DaysLeft(now) != tt.left {
			t.Errorf("on %s there are %d days left, want %d", tt.day, e.DaysLeft(now), tt.left)
		}
	}
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	header := http.Header{}
	Find("/crm-pipelines/v1/x").Announce(header)
	if header.Get("Sunset") != "Fri, 04 Dec 2026 00:00:00 GMT" || header.Get("Deprecation") != "@1796342400" ||
		!strings.HasSuffix(header.Get("Link"), `pipelines-api-v1-sunset>; rel="deprecation"; type="text/html"`) {
		t.Errorf("an endpoint that will fail: %v", header)
	}
	header = http.Header{"Deprecation": {"@1"}}
	Find("/crm/v3/x").Announce(header)
	if len(header) != 1 || header.Get("Deprecation") != "@1" {
		t.Errorf("HubSpot's own header, for an endpoint that may go on: %v", header)
	}
}

// Each kind of use has one line in the log, and a warning only where the end is
// near.
func TestWatch(t *testing.T) {
	t.Parallel()
	var w Watch
	var logs logtest.Buffer
	logger := slog.New(slog.NewTextHandler(&logs, nil))
	now := day("2027-01-15")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				w.Called("hbdev", "sync", Find("/crm/v4/x/y"), now, logger)
				w.Called("hbdev", "", Find("/crm/v3/x"), now, logger)
			}
		})
	}
	wg.Wait()
	w.Called("other", "sync", Find("/crm/v4/x/y"), now.Add(time.Minute), logger)

	uses := w.Uses()
	if len(uses) != 3 || uses[0].App != "hbdev" || uses[0].Calls != 800 || uses[1].App != "other" || uses[1].Calls != 1 ||
		!uses[1].Last.Equal(now.Add(time.Minute)) || uses[2].Family != "/*/v3/*" || uses[2].Calls != 800 {
		t.Errorf("uses: %+v", uses)
	}
	if n := strings.Count(logs.String(), "level=WARN"); n != 2 {
		t.Errorf("%d warnings, want one each for two apps:\n%s", n, logs.String())
	}
}

func BenchmarkFind(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Find("/crm/v3/objects/contacts/1234567")
	}
}
