package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// sandboxGrace is how long requests may take to finish once the sandbox is
// told to stop.
const sandboxGrace = 5 * time.Second

func sandboxCommand() *cobra.Command {
	var listen, appsFile, state string
	cmd := &cobra.Command{
		Use:   "sandbox [--listen <address>] [--apps <file>] [--state <file>]",
		Short: "Runs a sandbox HubSpot to develop and test against",
		Long: `
Runs a sandbox HubSpot: consent page, token endpoint, and contacts, companies
and deals with made-up data. It keeps everything in memory, and answers
programs on this machine only. With --state, what is installed is kept in a
file and is there again after a restart.

Without --apps it knows one app, whose client id and secret it prints. With
--apps it knows the apps of a YAML file, which is the one of the setting
apps_file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runSandbox(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), listen, appsFile, state)
		},
	}
	cmd.Flags().StringVarP(&listen, "listen", "l", "127.0.0.1:4000", "Loopback address and port to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&appsFile, "apps", "", "YAML file with the apps that the sandbox knows")
	cmd.Flags().StringVar(&state, "state", "", "File to keep what is installed in")
	return cmd
}

// runSandbox serves a sandbox until ctx ends.
func runSandbox(ctx context.Context, out, logs io.Writer, listen, appsFile, state string) error {
	if err := checkLoopback(listen); err != nil {
		return err
	}
	apps, err := sandboxAppsOf(appsFile)
	if err != nil {
		return err
	}
	handler, err := sandbox.New(sandbox.Options{Apps: apps, StateFile: state, Logger: slog.New(slog.NewTextHandler(logs, nil))})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", listen, err)
	}
	printSandbox(out, listener.Addr().(*net.TCPAddr), apps)
	return serveUntil(ctx, listener, handler)
}

// serveUntil serves until ctx ends and then lets requests finish.
func serveUntil(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving the sandbox: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), sandboxGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the sandbox: %w", err)
	}
	return nil
}

// checkLoopback refuses an address that other machines could reach. The
// sandbox would answer them with an error anyway.
func checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("--listen %q: give a host and a port, such as 127.0.0.1:4000", listen)
	}
	if !isLoopbackHost(host) {
		return fmt.Errorf("--listen %q: the sandbox is for this machine only; give a loopback address such as 127.0.0.1:4000", listen)
	}
	return nil
}

// isLoopbackHost reports whether a host name or address stays on this
// machine.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// sandboxAppsOf reads an apps file; without one there are none.
func sandboxAppsOf(file string) ([]sandbox.App, error) {
	if file == "" {
		return nil, nil
	}
	loaded, err := appconfig.LoadYAML(file)
	if err != nil {
		return nil, err
	}
	resolved, err := appconfig.ExpandAll(loaded, settings.Expand)
	if err != nil {
		return nil, err
	}
	return sandbox.Register(resolved)
}

// printSandbox says how to use a sandbox that has just started.
func printSandbox(out io.Writer, addr *net.TCPAddr, apps []sandbox.App) {
	base := "http://" + addr.String()
	// HubSpot takes no IP addresses in redirect URLs, and cookies of the
	// page that sends users here are bound to its host name.
	pages := fmt.Sprintf("http://localhost:%d", addr.Port)
	fmt.Fprintf(out, `HubSpot sandbox (this is not HubSpot)

Open          %s/
Caddyfile     hubspot {
                  endpoints {
                      api       %s
                      authorize %s/oauth/authorize
                  }
              }
Break things  curl %s/_sandbox/faults
See counters  curl %s/_sandbox/stats
`, pages, base, pages, base, base)
	if len(apps) == 0 {
		demo := sandbox.DemoApp()
		fmt.Fprintf(out, "Client id     %s\nClient secret %s\n", demo.ClientID, sandbox.DemoClientSecret)
	}
	for _, app := range apps {
		fmt.Fprintf(out, "Client id     %s\n", app.ClientID)
	}
	fmt.Fprintln(out, "\nStop with Ctrl+C.")
}
