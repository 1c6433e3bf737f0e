package proxy

import (
	"strconv"
	"strings"
	"testing"
)

// Each wrong setting is refused by its name, with the line it stands in.
func TestWrongProxySettings(t *testing.T) {
	h := newHarness(t)
	base := strings.Count(strings.Split(hubspotCaddyfile("", "MARK"), "MARK")[0], "\n") + 1
	in := func(lines ...string) string { return "hubspot_proxy hbdev {\n" + strings.Join(lines, "\n") + "\n}" }
	for _, tc := range []struct {
		name, site string
		line       int
		want       string
	}{
		{"no app", "hubspot_proxy", 0, "name the HubSpot app"},
		{"matcher and no app", "hubspot_proxy /crm/*", 0, "name the HubSpot app"},
		{"two apps", "hubspot_proxy hbdev hbprod", 0, `"hbprod" is too much`},
		{"unknown subdirective", in("userr acme"), 1, `unknown subdirective "userr"; there are: max_wait, open`},
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
		{"header_up Authorization", in("header_up Authorization x"), 1, "header_up Authorization cannot be used: it is the user's access token"},
		{"header_up -authorization", in("header_up -authorization"), 1, "cannot be used"},
		{"header_up Host", in("header_up Host x"), 1, "header_up Host cannot be used"},
		{"header_up Cookie", in("header_up +Cookie a=b"), 1, "HubSpot does not get this header"},
		{"header_up X-Forwarded-For", in("header_up X-Forwarded-For x"), 1, "HubSpot does not get this header"},
		{"header_up X-HubSpot-User", in("header_up X-HubSpot-User x"), 1, "HubSpot does not get this header"},
		{"header_up of nothing", in("header_up"), 1, "rgument"},
		{"transport fastcgi", in("transport fastcgi {", "}"), 1, "only the settings of the transport http"},
		{"transport twice", in("transport http {", "}", "transport http {", "}"), 3, "transport is given twice"},
		{"transport with compression", in("transport http {", "compression on", "}"), 0, ""},
		{"transport with proxy protocol", in("transport http {", "proxy_protocol v2", "}"), 3, "proxy_protocol: leave it out"},
		{"transport without verification", in("transport http {", "tls_insecure_skip_verify", "}"), 3, "tls_insecure_skip_verify: leave it out"},
		{"transport with another name", in("transport http {", "tls_server_name x", "}"), 3, "tls_server_name: leave it out"},
		{"transport with exceptions", in("transport http {", "tls_except_ports 80", "}"), 3, "tls_except_ports: leave it out"},
		{"transport with HTTP/3", in("transport http {", "versions 3", "}"), 3, `versions: "3": there are 1.1 and 2`},
		{"transport with nonsense", in("transport http {", "nonsense", "}"), 2, "unrecognized subdirective nonsense"},
		{"wrong size", in("request_buffers many"), 1, "invalid byte size"},
		{"matcher that is not there", in("handle_response @nobody {", "}"), 1, "nobody"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.Adapt(hubspotCaddyfile("", tc.site))
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
	h := newHarness(t)
	for name, tc := range map[string]struct{ text, want string }{
		"unknown app":     {hubspotCaddyfile("", "hubspot_proxy hbprod"), `app "hbprod" is not configured; there are: hbdev`},
		"no global":       {"http://localhost:0 {\n hubspot_proxy hbdev\n}", "global option hubspot is missing"},
		"long user":       {hubspotCaddyfile("", "hubspot_proxy hbdev {\n user "+strings.Repeat("u", 1025)+"\n}"), "longer than 1024"},
		"no callers":      {openCaddyfile("hubspot_proxy hbdev"), "nobody could call"},
		"wrong transport": {hubspotCaddyfile("", "reverse_proxy localhost:1 {\n transport hubspot {\n versions 3\n}\n}"), "there are 1.1 and 2"},
	} {
		if err := h.Load(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: loaded with %v, want an error with %q", name, err, tc.want)
		}
	}
}

// The transport alone takes nobody's requests.
func TestTransportWithoutGuard(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), "reverse_proxy localhost:1 {\n transport hubspot\n}")
	if got := h.Get("/crm/x", "acme"); got.StatusCode != 500 || len(upstream.taken()) != 0 {
		t.Errorf("%s %s", got.Status, got.Text)
	}
	if !strings.Contains(h.Logs.String(), "behind the handler hubspot_proxy only") {
		t.Error("the log does not say why")
	}
}

// The endpoint of the config decides where requests go, not the upstream.
func TestUpstreamIsTheEndpoint(t *testing.T) {
	t.Setenv("API", "")
	upstream := newWireServer(t, plainAnswer)
	t.Setenv("API", upstream.url())
	h := startCaddy(t, withAPI(hubspotCaddyfile("", "hubspot_proxy hbdev"), "{env.API}"))
	connect(t, h, "acme", testToken)
	if got := h.Get("/crm/x", "acme"); got.Text != `{"ok": true}` {
		t.Errorf("%s %s", got.Status, got.Text)
	}
}

// reverse_proxy's own means work on what HubSpot answers.
func TestHandleResponse(t *testing.T) {
	upstream := newWireServer(t, plainAnswer)
	h := startProxy(t, upstream.url(), `hubspot_proxy hbdev {
		header_down X-Served-By {http.request.host}
		@ok status 200
		handle_response @ok {
			respond "instead" 203
		}
	}`)
	got := h.Get("/crm/x", "acme")
	if got.StatusCode != 203 || got.Text != "instead" || got.Header.Get("X-HubSpot-Portal") != "4711" {
		t.Errorf("%s %s %v", got.Status, got.Text, got.Header)
	}
	wantOwnError(t, h.Get("/crm/x", "globex"), 404, "not_connected")
}
