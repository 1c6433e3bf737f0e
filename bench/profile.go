package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// profileAll runs each Caddy once more under the load, with its CPU profile
// taken, and prints whose code its time was spent in.
func (s *stage) profileAll(ctx context.Context, w io.Writer, protocol string, l load) error {
	if err := os.MkdirAll(s.options.profile, 0o755); err != nil { //nolint:gosec // profiles are no secret
		return fmt.Errorf("making the folder for profiles: %w", err)
	}
	shares := make(map[string]map[string]float64)
	var names []string
	for _, r := range s.running {
		if !r.caddy() {
			continue
		}
		file := filepath.Join(s.options.profile, fmt.Sprintf("%s-%s-%d-%s.pprof", protocol, l.method, l.clients, r.Name))
		s.options.progress("profile: %s", file)
		if err := s.profile(ctx, r, l, file); err != nil {
			return fmt.Errorf("profiling %s: %w", r.Name, err)
		}
		traces, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", file).Output() //nolint:gosec // a file of our own
		if err != nil {
			return fmt.Errorf("reading the profile of %s: %w", r.Name, err)
		}
		names = append(names, r.Name)
		if shares[r.Name], err = sumTraces(traces); err != nil {
			return fmt.Errorf("reading the profile of %s: %w", r.Name, err)
		}
	}
	fmt.Fprintf(w, "\nWhose code the CPU time of a Caddy is spent in:\n\n| | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("--:|", len(names)))
	for _, owner := range owners {
		columns := []string{owner.name}
		for _, name := range names {
			columns = append(columns, fmt.Sprintf("%.0f %%", 100*shares[name][owner.name]))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(columns, " | "))
	}
	return nil
}

// profile writes the CPU profile of a run to a file.
func (s *stage) profile(ctx context.Context, r *running, l load, file string) error {
	seconds := max(1, int(s.options.duration/time.Second))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		answer

		err error
	}
	answered := make(chan outcome, 1)
	client := &http.Client{Timeout: s.options.duration + 20*time.Second}
	go func() {
		got, err := get(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile?seconds=%d", r.admin, seconds))
		if err == nil && got.status != http.StatusOK {
			err = fmt.Errorf("status %d: %.300s", got.status, got.body)
		}
		answered <- outcome{got, err}
	}()
	_, err := l.run(ctx, s.folder, r, s.options.duration+time.Second)
	got := <-answered
	if err != nil {
		return err
	}
	if got.err != nil {
		return got.err
	}
	return os.WriteFile(file, got.body, 0o600) //nolint:gosec // where -profile says
}

// owner is a part of the program, known by the functions that only it has.
type owner struct {
	name  string
	known func(function string) bool
}

// owners are asked for each frame of a stack in this order, from the leaf to
// the root: the first frame that somebody knows decides. What the runtime and
// libraries do is on the account of whoever called them.
var owners = []owner{
	{"garbage collector", hasPrefix("runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcAssistAlloc")},
	{"ours", hasPrefix("github.com/caddy-hubspot/")},
	{"Go's ReverseProxy", hasPrefix("net/http/httputil.")},
	{"Caddy's reverse_proxy", hasPrefix("github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.")},
	{"tracing", hasPrefix("go.opentelemetry.io/")},
	{"the rest of Caddy", hasPrefix("github.com/caddyserver/")},
	{"Go's transport", hasPrefix(
		"net/http.(*Transport)", "net/http.(*persistConn)", "net/http.(*transportRequest)", "net/http.(*http2Transport)",
		"net/http.(*http2ClientConn)", "net/http.(*http2clientStream)", "net/http.(*http2clientConn", "net/http.(*bodyEOFSignal)",
		"net/http.persistConnWriter", "net/http/internal/http2.(*Transport)", "net/http/internal/http2.(*ClientConn)",
		"net/http/internal/http2.(*clientStream)", "golang.org/x/net/http2.(*Transport)", "golang.org/x/net/http2.(*ClientConn)",
		"golang.org/x/net/http2.(*clientStream)", "golang.org/x/net/http2.(*clientConn")},
	{"Go's server", hasPrefix("net/http.(*conn)", "net/http.(*response)", "net/http.(*connReader)", "net/http.(*chunkWriter)", "net/http.(*Server)", "net/http.checkConnErrorWriter", "net/http.(*checkConnErrorWriter)")},
	{"scheduler and the rest", func(string) bool { return false }},
}

func hasPrefix(prefixes ...string) func(string) bool {
	return func(function string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(function, prefix) })
	}
}

// ownerOf says whose a stack is, whose leaf is first.
func ownerOf(stack []string) string {
	for _, function := range stack {
		for _, o := range owners {
			if o.known(function) {
				return o.name
			}
		}
	}
	return owners[len(owners)-1].name
}

// sumTraces adds up the stacks that "go tool pprof -traces" prints, as parts
// of the whole. Stacks are separated by lines of dashes; the first line of
// each has its time before the leaf's name.
func sumTraces(traces []byte) (map[string]float64, error) {
	sums := make(map[string]float64)
	var total, value float64
	var stack []string
	finish := func() {
		if len(stack) > 0 {
			sums[ownerOf(stack)] += value
			total += value
		}
		value, stack = 0, nil
	}
	lines := bufio.NewScanner(bytes.NewReader(traces))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "-----------+") {
			finish()
			value = -1
			continue
		}
		fields := strings.Fields(line)
		switch {
		case value < 0 && len(fields) >= 2:
			d, err := time.ParseDuration(fields[0])
			if err != nil {
				return nil, fmt.Errorf("the time of a stack: %w", err)
			}
			value, stack = float64(d), []string{fields[1]}
		case len(stack) > 0 && len(fields) > 0:
			stack = append(stack, fields[0])
		}
	}
	finish()
	if total == 0 {
		return nil, errors.New("the profile is empty")
	}
	for name := range sums {
		sums[name] /= total
	}
	return sums, nil
}
