// Command bench measures the sidecar beside nginx and plain reverse_proxy, as
// real processes that stand in turn between a load generator and an upstream
// with TLS that answers as HubSpot does, all on loopback. bench/run builds and
// starts it; docs/performance.md says how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// init keeps the main goroutine on the main thread; see [childAttributes].
func init() { runtime.LockOSThread() }

func main() {
	if isUpstream() {
		fail(serveUpstream(os.Args[2:]))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = o.run(ctx)
	}
	o.removeWork()
	if ctx.Err() != nil {
		err = errors.New("stopped")
	}
	fail(err)
}

func fail(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// removeWork removes the folder that bench/run made.
func (o *options) removeWork() {
	if o.ownsWork() {
		_ = os.RemoveAll(o.work) //nolint:gosec // it is a folder for temporary files
	}
}

// run measures all that was asked for, and prints it.
func (o *options) run(ctx context.Context) error {
	chosen, err := o.contenders()
	if err != nil {
		return err
	}
	if o.nice != 0 {
		if err := setPriority(o.nice); err != nil {
			return err
		}
		defer setPriority(0) //nolint:errcheck // of the session that goes on; what can be done has been
	}
	r := &report{
		Date:     time.Now().UTC().Format(time.DateOnly),
		Machine:  machine(runtime.NumCPU()),
		Go:       runtime.Version(),
		Command:  o.commandLine(os.Args[1:]),
		GC:       o.gc,
		Baseline: o.baseline,
	}
	r.heading(os.Stdout)
	for _, protocol := range o.protocols {
		if err := o.runStage(ctx, r, chosen, protocol); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	return r.write(o.json)
}

// runStage measures all loads with one kind of upstream.
func (o *options) runStage(ctx context.Context, r *report, chosen []contender, protocol string) error {
	s, err := newStage(ctx, o, chosen, protocol)
	defer s.stop()
	if err != nil {
		return err
	}
	for _, method := range o.methods {
		for _, clients := range o.clients {
			l := load{method: method, clients: clients}
			c, err := s.measureCell(ctx, protocol, l)
			if err != nil {
				return err
			}
			c.table(os.Stdout, o.baseline)
			r.Cells = append(r.Cells, c)
			if o.profile == "" {
				continue
			}
			if err := s.profileAll(ctx, os.Stdout, protocol, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// commandLine is how bench/run was called.
func (o *options) commandLine(args []string) string {
	words := []string{"bench/run"}
	for i := 0; i < len(args); i++ {
		if args[i] == "-work" {
			i++
			continue
		}
		word := args[i]
		if strings.ContainsAny(word, " ;'") {
			word = "'" + word + "'"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}
