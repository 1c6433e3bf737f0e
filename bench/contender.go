package main

import (
	"fmt"
	"slices"
	"strings"
)

// kind is what a contender is made of.
type kind string

const (
	kindDirect kind = "direct"
	kindNginx  kind = "nginx"
	kindPlain  kind = "plain"
	kindOurs   kind = "ours"
)

// contender is one way from the load generator to the upstream.
type contender struct {
	// Name stands in tables. Those of kinds other than direct are also
	// folders.
	Name string
	kind kind
	// binary is the caddy that runs; empty for direct and nginx.
	binary string
	// Transport are the lines of the transport's block.
	Transport []string
	// Policy has the caller's apps, users, paths and methods checked, and an
	// audit log written.
	Policy bool
	// Full has Caddy's metrics of requests and its tracing on.
	Full bool
	// AccessLog has Caddy log each request to a file.
	AccessLog bool
}

// caddy reports whether the contender is a Caddy, which has an admin API.
func (c *contender) caddy() bool { return c.kind == kindPlain || c.kind == kindOurs }

// known are the contenders that a name stands for, in the order of tables.
func known() []contender {
	return []contender{
		{Name: "direct", kind: kindDirect},
		{Name: "nginx", kind: kindNginx},
		{Name: "plain", kind: kindPlain},
		{Name: "plain-full", kind: kindPlain, Full: true},
		{Name: "plain-access-log", kind: kindPlain, AccessLog: true},
		{Name: "ours", kind: kindOurs},
		{Name: "ours-audit", kind: kindOurs, Policy: true},
		{Name: "ours-full", kind: kindOurs, Policy: true, Full: true},
		{Name: "ours-access-log", kind: kindOurs, AccessLog: true},
	}
}

func knownNames() string {
	var names []string
	for _, c := range known() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

// contenders makes those that the flags ask for: the named ones, then ours
// with other transports, then ours of other builds.
func (o *options) contenders() ([]contender, error) {
	var chosen []contender
	for _, name := range o.names {
		i := slices.IndexFunc(known(), func(c contender) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no contender %q; there are %s", name, knownNames())
		}
		chosen = append(chosen, known()[i])
	}
	for _, v := range o.variants {
		chosen = append(chosen, contender{Name: "ours-" + v.name, kind: kindOurs, Transport: splitLines(v.value)})
	}
	for _, b := range o.builds {
		chosen = append(chosen, contender{Name: "ours@" + b.name, kind: kindOurs, binary: b.value})
	}
	seen := make(map[string]bool)
	for i := range chosen {
		c := &chosen[i]
		if seen[c.Name] {
			return nil, fmt.Errorf("the contender %s is there twice", c.Name)
		}
		seen[c.Name] = true
		if !c.caddy() {
			continue
		}
		if c.binary == "" {
			c.binary = o.caddy
		}
		c.Transport = slices.Concat(o.poolLines(c.Transport), o.transport, c.Transport)
	}
	if !seen[o.baseline] {
		return nil, fmt.Errorf("the baseline %s is not among the contenders", o.baseline)
	}
	return chosen, nil
}

// poolLines sets how many idle connections are kept, unless other lines do.
// Caddy keeps 32, and more clients than that would have connections made anew
// all the time.
func (o *options) poolLines(own []string) []string {
	const setting = "keepalive_idle_conns_per_host"
	given := func(line string) bool { return strings.HasPrefix(line, setting) }
	if o.pool == 0 || slices.ContainsFunc(o.transport, given) || slices.ContainsFunc(own, given) {
		return nil
	}
	return []string{fmt.Sprintf("%s %d", setting, o.pool)}
}

// splitLines takes a flag's value apart at semicolons.
func splitLines(value string) []string {
	var lines []string
	for line := range strings.SplitSeq(value, ";") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
