package webhook_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

func TestGolden(t *testing.T) { caddytest.Golden(t, "testdata") }

// Each wrong setting is refused by its name, with the line where it stands.
func TestCaddyfileRefused(t *testing.T) {
	const toApp = "deliver http://localhost:3000/"
	tests := map[string]struct {
		site string
		// line is that of the site from 1, or 0 where the error has none.
		line int
		want string
	}{
		"no app":               {"hubspot_webhook", 1, "hubspot_webhook: give the app"},
		"two apps":             {"hubspot_webhook /w hbdev other", 1, "hubspot_webhook: give the app"},
		"unknown app":          {"hubspot_webhook other", 0, "hubspot_webhook other: the app is not configured; there are: hbdev"},
		"unknown setting":      {"hubspot_webhook hbdev {\nurl x\n}", 2, `hubspot_webhook: unknown setting "url"; there are: deliver, public_url, queue, signatures`},
		"public_url path":      {"hubspot_webhook hbdev {\npublic_url /hubspot\n}", 2, "public_url: give the target URL"},
		"public_url query":     {"hubspot_webhook hbdev {\npublic_url https://a.example/?x=1\n}", 2, "public_url: leave out the query"},
		"public_url http":      {"hubspot_webhook hbdev {\npublic_url http://a.example/\n}", 2, "public_url: HubSpot calls https"},
		"public_url expanded":  {"hubspot_webhook hbdev {\npublic_url {env.HUBSPOT_CLIENT_ID}\n}", 0, "hubspot_webhook hbdev: public_url: give the target URL"},
		"public_url empty":     {"hubspot_webhook hbdev {\npublic_url {env.NO_SUCH}\n}", 0, "hubspot_webhook hbdev: public_url:"},
		"signatures":           {"hubspot_webhook hbdev {\nsignatures v3 v4\n}", 2, `signatures: "v4" is none of v1, v2 and v3`},
		"signatures twice":     {"hubspot_webhook hbdev {\nsignatures v3 v3\n}", 2, "signatures: v3 is there twice"},
		"signatures none":      {"hubspot_webhook hbdev {\nsignatures\n}", 2, "signatures: give at least one value"},
		"queue without name":   {"hubspot_webhook hbdev {\nqueue\n" + toApp + "\n}", 2, "queue: name the queue"},
		"unknown queue":        {"hubspot_webhook hbdev {\nqueue disk\n" + toApp + "\n}", 2, `queue: unknown queue "disk"; there are: file`},
		"queue argument":       {"hubspot_webhook hbdev {\nqueue file /tmp\n" + toApp + "\n}", 2, "queue file: takes no value"},
		"queue setting":        {"hubspot_webhook hbdev {\nqueue file {\nsize 1\n}\n" + toApp + "\n}", 3, `queue file: unknown setting "size"; there are: max_size, path`},
		"max_size":             {"hubspot_webhook hbdev {\nqueue file {\nmax_size 1KiB\n}\n" + toApp + "\n}", 3, `max_size: "1KiB" is not a size of 1MiB or more`},
		"path":                 {"hubspot_webhook hbdev {\nqueue file {\npath {env.NO_SUCH}\n}\n" + toApp + "\n}", 0, "path:"},
		"queue without":        {"hubspot_webhook hbdev {\nqueue file\n}", 1, "hubspot_webhook hbdev: deliver: say where the queue's webhooks go"},
		"deliver without":      {"hubspot_webhook hbdev {\n" + toApp + "\n}", 1, "hubspot_webhook hbdev: deliver: needs the setting queue"},
		"deliver address":      {"hubspot_webhook hbdev {\nqueue file\ndeliver localhost:3000\n}", 3, "deliver: give the address of the app behind"},
		"deliver no address":   {"hubspot_webhook hbdev {\nqueue file\ndeliver\n}", 3, "deliver: give one address"},
		"deliver password":     {"hubspot_webhook hbdev {\nqueue file\ndeliver http://a:b@localhost/\n}", 3, "deliver: the address must not have a user or password"},
		"deliver expanded":     {"hubspot_webhook hbdev {\nqueue file\ndeliver {env.HUBSPOT_CLIENT_ID}\n}", 0, "deliver: url: give the address"},
		"split":                {"hubspot_webhook hbdev {\nqueue file\n" + toApp + " {\nsplit object\n}\n}", 4, `split: "object" is none of none, portal and event`},
		"order":                {"hubspot_webhook hbdev {\nqueue file\n" + toApp + " {\norder event\n}\n}", 4, `order: "event" is none of none, portal and object`},
		"timeout":              {"hubspot_webhook hbdev {\nqueue file\n" + toApp + " {\ntimeout 1h\n}\n}", 4, "timeout: 1h0m0s is not between"},
		"attempts":             {"hubspot_webhook hbdev {\nqueue file\n" + toApp + " {\nattempts 0\n}\n}", 4, `attempts: "0" is not a number above zero`},
		"one queue, two apps":  {"hubspot_webhook /a hbdev {\nqueue file\n" + toApp + "a\n}\nhubspot_webhook /b hbdev {\nqueue file\n" + toApp + "b\n}", 0, "another hubspot_webhook of the config has the same queue with other settings"},
		"one queue, two sizes": {"hubspot_webhook /a hbdev {\nqueue file\n" + toApp + "\n}\nhubspot_webhook /b hbdev {\nqueue file {\nmax_size 2MiB\n}\n" + toApp + "\n}", 0, "another hubspot_webhook of the config has the same queue with other settings"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := caddytest.Caddyfile("", tt.site)
			err := caddytest.New(t).Load(text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("the error is %v, want one with %q", err, tt.want)
			}
			if tt.line == 0 {
				return
			}
			before, _, _ := strings.Cut(text, tt.site)
			if place := ":" + strconv.Itoa(strings.Count(before, "\n")+tt.line); !strings.Contains(err.Error(), place) {
				t.Errorf("the error is %v, want one with the place %s", err, place)
			}
		})
	}
}

func TestStaticAppRefused(t *testing.T) {
	err := caddytest.New(t).Load(caddytest.Caddyfile("app reports {\nstatic\n}", "hubspot_webhook reports"))
	if want := "hubspot_webhook reports: is a static app, which has no client secret"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want one with %q", err, want)
	}
}
