package proxy

import (
	"slices"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
)

// Reasons why settings of reverse_proxy cannot be used, and what does it in
// Caddy.
const (
	oneUpstream  = "there is one upstream, so there is no other to choose"
	fixedAddress = "requests go to HubSpot's API, which the global option hubspot names under endpoints"
	noUpgrades   = "HubSpot's API has no upgraded connections"
	asSent       = "callers' requests reach HubSpot as they were sent; use the directives method, rewrite or uri in front of it"
	streamed     = "bodies are streamed both ways and never held; to limit them, use the directive request_body in front of it"
	intercepted  = "HubSpot's answers reach callers as they come; use the directive intercept in front of it"
)

// refused has the settings of reverse_proxy that have no place here.
var refused = map[string]string{
	"to": fixedAddress, "dynamic": fixedAddress,
	"method": asSent, "rewrite": asSent,
	"header_up":       "use the directive request_header in front of it; Authorization and Host are the sidecar's",
	"header_down":     "use the directive header in front of it",
	"handle_response": intercepted, "replace_status": intercepted,
	"request_buffers": streamed, "response_buffers": streamed,
	"flush_interval":     "what HubSpot sends in parts is passed on at once, and other answers as they come",
	"verbose_logs":       "use the directive log, and log_credentials with care",
	"trusted_proxies":    "HubSpot gets no X-Forwarded headers",
	"proxy_status_name":  "the name in Proxy-Status is caddy-hubspot",
	"stream_timeout":     noUpgrades,
	"stream_close_delay": noUpgrades,
	"stream_buffer_size": noUpgrades,
}

// aboutUpstreams are those that choose among several upstreams.
var aboutUpstreams = []string{
	"lb_policy", "lb_retries", "lb_try_duration", "lb_try_interval", "lb_retry_match",
	"health_uri", "health_path", "health_upstream", "health_port", "health_headers", "health_method", "health_request_body",
	"health_interval", "health_timeout", "health_status", "health_body", "health_follow_redirects", "health_passes", "health_fails",
	"fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency", "unhealthy_request_count",
}

// refusal says why a setting of reverse_proxy cannot be used; nothing for another.
func refusal(name string) string {
	if slices.Contains(aboutUpstreams, name) {
		return oneUpstream
	}
	return refused[name]
}

// addRefused adds the settings that cannot be used to those that can.
func addRefused(known map[string]settings.Setting) {
	for name, reason := range refused {
		known[name] = settings.Setting{Refused: reason}
	}
	for _, name := range aboutUpstreams {
		known[name] = settings.Setting{Refused: oneUpstream}
	}
}
