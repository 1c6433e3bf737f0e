package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// neededHeaderBytes is what a server has to take for a request's head, so that
// HubSpot's longest URLs (16.2 KB; beyond them HubSpot answers 414 itself) come
// through with a JWT and an SDK's headers beside them.
const neededHeaderBytes = 64 << 10

// warnOfServer logs what calls would be lost in the server that a handler is
// being provisioned for, before they reach the handler.
func warnOfServer(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	logger := ctx.Slogger()
	if server.MaxHeaderBytes < neededHeaderBytes {
		logger.Warn("the server takes less of a request's head than HubSpot does: long URLs get 431 from Caddy; set max_header_size 64KiB in the global option servers",
			"max_header_bytes", server.MaxHeaderBytes)
	}
	if missing := missingNames(server); len(missing) > 0 {
		logger.Warn("the site is not reached under all names of this machine: what is sent to another name never comes here, and Caddy answers it with an empty 200 unless a site without a name ends the config; see the README's troubleshooting",
			"not_reached_as", missing)
	}
}

// loopbackNames are what programs call the machine they are on.
var loopbackNames = []string{"localhost", "127.0.0.1"}

// missingNames are those of the loopback names under which the site that is being
// provisioned is not reached: none if it is reached under all of them, or is not
// for programs on this machine.
func missingNames(server *caddyhttp.Server) []string {
	site := siteInProvision(server)
	if site == nil {
		return nil
	}
	missing := slices.DeleteFunc(slices.Clone(loopbackNames), func(name string) bool { return reachedAs(site, name) })
	if len(missing) == len(loopbackNames) && !onLoopback(server) && !reachedAs(site, "::1") {
		return nil
	}
	return missing
}

// siteInProvision is the route of a server whose handlers are being provisioned,
// or nil. Caddy takes the routes in their order, and lets go of the JSON of a
// route's handlers once they are.
func siteInProvision(server *caddyhttp.Server) *caddyhttp.Route {
	for i := range server.Routes {
		if route := &server.Routes[i]; route.HandlersRaw != nil {
			return route
		}
	}
	return nil
}

// reachedAs reports whether a site takes requests for a host. What else it asks
// of them is left aside.
func reachedAs(site *caddyhttp.Route, host string) bool {
	if len(site.MatcherSets) == 0 {
		return true
	}
	r := &http.Request{Host: host}
	r = r.WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	return slices.ContainsFunc(site.MatcherSets, func(set caddyhttp.MatcherSet) bool {
		return !slices.ContainsFunc(set, func(matcher any) bool {
			names, ok := matcher.(*caddyhttp.MatchHost)
			if !ok {
				return false
			}
			matches, err := names.MatchWithError(r)
			return !matches || err != nil
		})
	})
}

// onLoopback reports whether a server listens on a loopback address.
func onLoopback(server *caddyhttp.Server) bool {
	return slices.ContainsFunc(server.Listen, func(listen string) bool {
		address, err := caddy.ParseNetworkAddress(listen)
		if err != nil || address.IsUnixNetwork() {
			return false
		}
		ip, err := netip.ParseAddr(address.Host)
		return err == nil && ip.IsLoopback() || strings.EqualFold(address.Host, "localhost")
	})
}
