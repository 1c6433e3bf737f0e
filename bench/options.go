package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags of the command line.
type options struct {
	names     []string
	protocols []string
	methods   []string
	clients   []int
	rounds    int
	duration  time.Duration
	warmup    time.Duration
	baseline  string
	gc        string
	pool      int
	transport []string
	variants  []named
	builds    []named
	chunked   bool
	traces    float64
	json      string
	profile   string
	nice      int
	quiet     bool
	// work is a folder for all files; caddy is in it unless it is named.
	work  string
	caddy string
	// stderr gets the progress.
	stderr io.Writer
}

// named is a value of the form NAME=VALUE.
type named struct{ name, value string }

const usageText = `Measures the sidecar beside nginx and plain reverse_proxy, as real processes.

  bench/run                                  HTTP/1.1 and HTTP/2 upstream, GET and POST, 32 clients
  bench/run --install                        installs nginx and wrk first, with apt-get
  bench/run --methods GET --rounds 3         a shorter one
  bench/run --clients 1,32,256 --methods GET --upstreams http2 \
            --contenders plain,ours --variant h1='versions 1.1' --variant h2='versions 2'
  bench/run --contenders plain,ours --build before=/tmp/caddy-before
  bench/run --profile /tmp/profiles --rounds 1

Contenders, each reached over plain HTTP on loopback but for direct:

  direct            no proxy: the load goes to the upstream, over TLS
  nginx             proxy_pass, connections kept, Authorization set
  plain             Caddy's reverse_proxy with header_up Authorization
  plain-full        with Caddy's metrics and tracing
  plain-access-log  with Caddy's access log, to a file
  ours              hubspot_proxy, a caller with a key, one connected user
  ours-audit        with a policy (apps, users, allow, deny) and the audit log
  ours-full         that, with Caddy's metrics and tracing
  ours-access-log   ours with Caddy's access log, to a file

The load generator, the proxy and the upstream share the machine: CPU per
request says more about a proxy than requests per second. Ratios are made for
each round, and shown as median (least–most). nginx speaks HTTP/1.1 to any
upstream; the last column says who spoke what, and how many connections were
opened in a run.

Flags:
`

// parseOptions reads the command line. The options are there also with an
// error, for [options.removeWork].
func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{stderr: stderr}
	flags := flag.NewFlagSet("bench/run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usageText)
		flags.PrintDefaults()
	}
	names := flags.String("contenders", "direct,nginx,plain,ours,ours-audit,ours-full", "who is measured, separated by commas")
	upstreams := flags.String("upstreams", "http1,http2", "the upstream's protocols, each in turn: http1, or http2 with HTTP/1.1 beside it")
	methods := flags.String("methods", "GET,POST", "GET of a list of 1.5 KB, POST of 1 KB, each in turn")
	clients := flags.String("clients", "32", "how many clients at the same time; 1,32,256 measures all three")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds, each with a run of every contender")
	flags.DurationVar(&o.duration, "duration", 4*time.Second, "length of a run, in whole seconds")
	flags.DurationVar(&o.warmup, "warmup", time.Second, "length of the run before it that does not count; 0: none")
	flags.StringVar(&o.baseline, "baseline", "plain", "the contender that the others are compared with")
	flags.StringVar(&o.gc, "gc", "100", "GOGC for every Caddy; default leaves it unset, so that each build may choose")
	flags.IntVar(&o.pool, "pool", 512, "idle connections to the upstream that plain and ours keep; 0 leaves each its default. nginx keeps 512")
	flags.Func("transport", "a `line` for the transport block of plain and ours, such as 'versions 1.1'; may be repeated",
		func(value string) error { o.transport = append(o.transport, splitLines(value)...); return nil })
	flags.Func("variant", "`NAME=LINES`: one more contender, ours-NAME, with these lines in its transport block, separated by semicolons; may be repeated", addNamed(&o.variants))
	flags.Func("build", "`NAME=FILE`: one more contender, ours@NAME, with the caddy of another build; may be repeated", addNamed(&o.builds))
	flags.BoolVar(&o.chunked, "chunked", false, "the upstream answers without a Content-Length, so that answers are flushed as they come")
	flags.Float64Var(&o.traces, "traces", 0.01, "the part of requests that *-full traces, 0 to 1")
	flags.StringVar(&o.json, "json", "", "also write all measurements to this `file`")
	flags.StringVar(&o.profile, "profile", "", "after the rounds, one run of each Caddy that does not count, with its CPU profile written to this `folder` and summed up by whose code it is")
	flags.IntVar(&o.nice, "nice", 0, "nice value of all that runs, for a machine that is busy with other things; below 0 needs root, and leaves little to others")
	flags.BoolVar(&o.quiet, "quiet", false, "no progress")
	flags.Bool("install", false, "install nginx and wrk with apt-get where they are missing")
	flags.StringVar(&o.caddy, "caddy", "", "the caddy to measure; by default ./cmd/caddy of this checkout")
	flags.StringVar(&o.work, "work", "", "a `folder` of the bench's own, which is removed at the end; bench/run sets it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag; see bench/run --help", flags.Arg(0))
	}
	o.names, o.protocols, o.methods = split(*names), split(*upstreams), split(*methods)
	var err error
	if o.clients, err = numbers(*clients); err != nil {
		return o, fmt.Errorf("-clients: %w", err)
	}
	return o, o.check()
}

// check finds what the flags cannot mean.
func (o *options) check() error {
	for _, protocol := range o.protocols {
		if _, ok := protocols[protocol]; !ok {
			return fmt.Errorf("-upstreams: %q: there are http1 and http2", protocol)
		}
	}
	for _, method := range o.methods {
		if method != http.MethodGet && method != http.MethodPost {
			return fmt.Errorf("-methods: %q: there are GET and POST", method)
		}
	}
	if o.gc != "default" && o.gc != "off" {
		if _, err := strconv.Atoi(o.gc); err != nil {
			return fmt.Errorf("-gc: %q: a percentage, off or default", o.gc)
		}
	}
	switch {
	case !o.ownsWork():
		return errors.New("-work: not a folder that bench/run has made; start the bench with bench/run")
	case o.rounds < 1:
		return errors.New("-rounds: at least 1")
	case o.duration < time.Second || o.duration%time.Second != 0 || o.warmup < 0 || o.warmup%time.Second != 0:
		return errors.New("-duration, -warmup: whole seconds, as in 4s")
	case o.pool < 0:
		return errors.New("-pool: 0 or more")
	case o.traces < 0 || o.traces > 1:
		return errors.New("-traces: from 0 to 1")
	}
	if o.caddy == "" {
		o.caddy = filepath.Join(o.work, "caddy")
	}
	return o.checkPrograms()
}

// ownsWork reports whether the folder for files is one that bench/run has
// made, as all in it will be removed.
func (o *options) ownsWork() bool {
	return strings.HasPrefix(filepath.Base(o.work), "caddy-hubspot-bench.")
}

// checkPrograms leaves nginx out where there is none.
func (o *options) checkPrograms() error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is not installed: bench/run --install does that on Debian")
	}
	if slices.Contains(o.names, "nginx") && nginxPath() == "" {
		fmt.Fprintln(o.stderr, "nginx is not installed and is left out; bench/run --install does that on Debian.")
		o.names = slices.DeleteFunc(o.names, func(name string) bool { return name == "nginx" })
	}
	for i, build := range o.builds {
		path, err := filepath.Abs(build.value)
		if err != nil {
			return fmt.Errorf("-build: %w", err)
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("-build: %w", err)
		}
		o.builds[i].value = path
	}
	return nil
}

// progress says what goes on.
func (o *options) progress(format string, args ...any) {
	if !o.quiet {
		fmt.Fprintf(o.stderr, format+"\n", args...)
	}
}

// addNamed reads NAME=VALUE. The name becomes part of a folder's.
func addNamed(list *[]named) func(string) error {
	return func(text string) error {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" || value == "" || strings.ContainsAny(name, "/ ") {
			return errors.New("as in NAME=VALUE, the name without slashes and spaces")
		}
		*list = append(*list, named{name: name, value: value})
		return nil
	}
}

func split(list string) []string {
	var values []string
	for value := range strings.SplitSeq(list, ",") {
		values = append(values, strings.TrimSpace(value))
	}
	return values
}

func numbers(list string) ([]int, error) {
	var values []int
	for _, text := range split(list) {
		value, err := strconv.Atoi(text)
		if err != nil || value < 1 {
			return nil, fmt.Errorf("%q is not a number of clients", text)
		}
		values = append(values, value)
	}
	return values, nil
}
