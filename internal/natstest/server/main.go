// Command server is a real NATS server for tests. It takes the command line of
// nats-server, as far as it sets options.
//
// It is a module of its own so that the server stays out of the product's go.mod.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "NATS test server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	none := func() {}
	options, err := server.ConfigureOptions(flag.NewFlagSet("server", flag.ContinueOnError), args, none, none, none)
	if err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	if err := server.Run(s); err != nil {
		return err
	}
	s.WaitForShutdown()
	return nil
}
