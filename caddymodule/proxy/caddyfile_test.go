package proxy_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

func TestGolden(t *testing.T) { caddytest.Golden(t, "testdata") }

// Each wrong setting is refused by its name, with the line it stands in.
func TestWrongProxySettings(t *testing.T) {
	h := caddytest.New(t)
	base := strings.Count(strings.Split(caddytest.Caddyfile("", "MARK"), "MARK")[0], "\n") + 1
	in := func(lines ...string) string { return "hubspot_proxy hbdev {\n" + strings.Join(lines, "\n") + "\n}" }
	for _, tc := range []struct {
		name, site string
		line       int
		want       string
	}{
		{"no app", "hubspot_proxy", 0, "name the HubSpot app"},
		{"matcher and no app", "hubspot_proxy /crm/*", 0, "name the HubSpot app"},
		{"two apps", "hubspot_proxy hbdev hbprod", 0, `"hbprod" is too much`},
		{"unknown subdirective", in("userr acme"), 1, `unknown setting "userr"; there are: deprecation_headers, max_wait, one_host, open`},
		{"open with a value", in("open yes"), 1, "open: takes no value"},
		{"open twice", in("open", "open"), 2, "open is given twice"},
		{"user twice", in("user a", "user b"), 2, "user is given twice"},
		{"user without value", in("user"), 1, "user: give exactly one value"},
		{"max_wait of zero", in("max_wait 0"), 1, "max_wait"},
		{"max_wait of nonsense", in("max_wait soon"), 1, `"soon" is not a duration`},
		{"to", in("to https://example.com"), 1, "to cannot be used: requests go to HubSpot's API"},
		{"dynamic", in("dynamic a example.com 443"), 1, "dynamic cannot be used"},
		{"lb_policy", in("lb_policy first"), 1, "lb_policy cannot be used: there is one upstream"},
		{"lb_retries", in("lb_retries 3"), 1, "lb_retries cannot be used"},
		{"health_uri", in("health_uri /"), 1, "health_uri cannot be used"},
		{"max_fails", in("max_fails 3"), 1, "max_fails cannot be used"},
		{"trusted_proxies", in("trusted_proxies private_ranges"), 1, "trusted_proxies cannot be used: HubSpot gets no X-Forwarded"},
		{"method", in("method GET"), 1, "method cannot be used"},
		{"rewrite", in("rewrite /x"), 1, "rewrite cannot be used"},
		{"stream_timeout", in("stream_timeout 1s"), 1, "stream_timeout cannot be used"},
		{"proxy_status_name", in("proxy_status_name x"), 1, "proxy_status_name cannot be used"},
		{"header_up", in("header_up X-Vendor x"), 1, "header_up cannot be used: use the directive request_header in front of it"},
		{"header_up Authorization", in("header_up Authorization x"), 1, "Authorization and Host are the sidecar's"},
		{"header_down", in("header_down -X-Trace"), 1, "header_down cannot be used: use the directive header"},
		{"handle_response", in("handle_response {", "}"), 1, "handle_response cannot be used: HubSpot's answers reach callers as they come; use the directive intercept"},
		{"replace_status", in("replace_status 404"), 1, "replace_status cannot be used"},
		{"request_buffers", in("request_buffers 4KiB"), 1, "request_buffers cannot be used: bodies are streamed both ways"},
		{"response_buffers", in("response_buffers 4KiB"), 1, "use the directive request_body"},
		{"flush_interval", in("flush_interval -1"), 1, "flush_interval cannot be used"},
		{"verbose_logs", in("verbose_logs"), 1, "verbose_logs cannot be used: use the directive log"},
		{"transport fastcgi", in("transport fastcgi {", "}"), 1, "only the settings of the transport http"},
		{"transport twice", in("transport http {", "}", "transport http {", "}"), 3, "transport is given twice"},
		{"transport with compression", in("transport http {", "compression on", "}"), 0, ""},
		{"transport with proxy protocol", in("transport http {", "proxy_protocol v2", "}"), 3, "proxy_protocol: leave it out"},
		{"transport without verification", in("transport http {", "tls_insecure_skip_verify", "}"), 3, "tls_insecure_skip_verify: leave it out"},
		{"transport with another name", in("transport http {", "tls_server_name x", "}"), 3, "tls_server_name: leave it out"},
		{"transport with exceptions", in("transport http {", "tls_except_ports 80", "}"), 3, "tls_except_ports: leave it out"},
		{"transport with HTTP/3", in("transport http {", "versions 3", "}"), 3, `versions: "3": there are 1.1 and 2`},
		{"transport with nonsense", in("transport http {", "nonsense", "}"), 2, "hubspot_proxy: transport: unrecognized subdirective nonsense"},
		{"header_up in the transport", in("transport http {", "dial_timeout 5s", "tls_trust_pool file {", "pem_file x", "}", "header_up X y", "}"), 6, "transport: header_up cannot be used: use the directive request_header"},
		{"lb_policy in the transport", in("transport http {", "lb_policy first", "}"), 2, "transport: lb_policy cannot be used: there is one upstream"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.Adapt(caddytest.Caddyfile("", tc.site))
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want one with %q", err, tc.want)
			}
			if at := "Caddyfile:" + strconv.Itoa(base+tc.line); !strings.Contains(err.Error(), at) {
				t.Errorf("error %q, want one at %s", err, at)
			}
		})
	}
}

// What shows only when the config is loaded is refused by name too.
func TestWrongProxyConfigs(t *testing.T) {
	h := caddytest.New(t)
	for name, tc := range map[string]struct{ text, want string }{
		"unknown app": {caddytest.Caddyfile("", "hubspot_proxy hbprod"), "hubspot_proxy hbprod: the app is not configured; there are: hbdev"},
		"no global":   {"http://localhost:0 {\n hubspot_proxy hbdev\n}", "global option hubspot is missing"},
		"long user":   {caddytest.Caddyfile("", "hubspot_proxy hbdev {\n user "+strings.Repeat("u", 1025)+"\n}"), "longer than 1024"},
		"no callers":  {withoutCallers("hubspot_proxy hbdev"), "nobody could call"},
	} {
		if err := h.Load(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: loaded with %v, want an error with %q", name, err, tc.want)
		}
	}
}

// withoutCallers has no caller, and a site.
func withoutCallers(site string) string {
	text := caddytest.Caddyfile("", site)
	begin, end := strings.Index(text, "\t\tcaller tester"), strings.Index(text, "\t\tendpoints")
	return text[:begin] + text[end:]
}

// The endpoint of the config decides where requests go.
func TestUpstreamIsTheEndpoint(t *testing.T) {
	t.Setenv("API", caddytest.Upstream(t))
	h := caddytest.Start(t, caddytest.WithAPI(caddytest.Caddyfile("", "hubspot_proxy hbdev"), "{env.API}"))
	h.ConnectAs("acme", caddytest.AccessToken)
	if got := h.Get("/crm/x", "acme"); got.Text != `{"ok": true}` {
		t.Errorf("%s %s", got.Status, got.Text)
	}
}

// Caddy's own directives work in front of it, on what is asked and answered.
func TestDirectivesInFront(t *testing.T) {
	h := start(t, caddytest.Upstream(t), `route {
		header X-Served-By {http.request.host}
		intercept {
			@ok status 200
			handle_response @ok {
				header -Content-Length
				respond "instead" 203
			}
		}
		hubspot_proxy hbdev
	}`)
	got := h.Get("/crm/x", "acme")
	if got.StatusCode != 203 || got.Text != "instead" || got.Header.Get("X-Served-By") != "localhost" {
		t.Errorf("%s %s %v", got.Status, got.Text, got.Header)
	}
	sidecartest.WantOwnError(t, h.Get("/crm/x", "globex"), 404, "not_connected")
}
