// Command caddy is Caddy with its standard modules and caddy-hubspot built in.
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-hubspot/caddy-hubspot/caddymodule"
)

func main() {
	tuneGC()
	caddycmd.Main()
}
