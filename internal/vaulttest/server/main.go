// Command server is a real Vault node for tests, reduced to what they need:
// integrated (raft) storage, the KV secrets engine, the AppRole, JWT,
// Kubernetes and TLS certificate logins and the file audit device.
//
// It is a module of its own so that Vault and its hundreds of dependencies
// stay out of the product's go.mod. It takes the same command line and
// configuration file as Vault's own binary,
//
//	server server -config=<file>
//
// so that one can stand in for the other. It is for tests only: its registry
// of plugins, its shutdown and its logging are simpler than Vault's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/vault/command/server"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vault test server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || args[0] != "server" {
		return errors.New("usage: server -config=<file>")
	}
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	path := flags.String("config", "", "configuration file, as for the vault command")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	config, err := server.LoadConfigFile(*path)
	if err != nil {
		return fmt.Errorf("reading configuration: %w", err)
	}
	n, err := startNode(config)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return n.stop()
}
