#!/usr/bin/env bash
#
# Builds caddy with caddy-hubspot in it, and runs the quickstart.
#
# Usage:
#   ./xcaddy.sh [build] [--with <module>[@<version>][=<path>]]... [--output <file>]
#   ./xcaddy.sh run     [--with <module>[@<version>][=<path>]]...
#   ./xcaddy.sh help
#
# build   makes ./caddy in this checkout, or the file that --output names. It
#         uses xcaddy where that is on PATH and "go build ./cmd/caddy" where
#         not; the modules in the binary are the same. --with adds another
#         Caddy module, for which xcaddy is needed; it may be repeated.
# run     builds, then serves examples/quickstart: a sandbox HubSpot, the
#         sidecar and a page with a "Connect to HubSpot" button, all in one
#         process on loopback. Stop it with Ctrl-C.
#
# Settings of run, as environment variables:
#   SIDECAR_PORT  the page and the sidecar; default 8080
#   SANDBOX_PORT  the sandbox; default 4000
#   ADMIN_PORT    Caddy's admin API; default 2019
#
# Needed: Go. Nothing else.

set -euo pipefail

readonly caddy_module=github.com/caddyserver/caddy/v2
readonly xcaddy_version=v0.4.5

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
readonly root

say() { printf '%s\n' "$*"; }

die() {
	printf 'xcaddy.sh: %s\n' "$*" >&2
	exit 1
}

# usage prints the comment at the top of this file.
usage() { sed -n '3,/^$/{s/^#$//;s/^# //;p;}' "$root/xcaddy.sh"; }

need_go() {
	command -v go >/dev/null && return
	die "there is no go command on PATH. Install Go (https://go.dev/doc/install), $(sed -n 's/^go //p' "$root/go.mod") or newer."
}

# build_with_xcaddy runs where the caller stands, so that relative paths in
# --with mean what they say.
build_with_xcaddy() {
	local output=$1 module version
	shift
	module=$(cd "$root" && go list -m)
	version=$(cd "$root" && go list -m -f '{{.Version}}' "$caddy_module")
	say "Building $output with xcaddy and Caddy $version"
	xcaddy build "$version" --output "$output" \
		--with "$module/caddymodule" --replace "$module=$root" "$@"
}

# build_with_go uses xcaddy's own flags: the tags leave out database drivers
# that only Caddy's internal certificate authority could use.
build_with_go() {
	local output=$1
	say "Building $output with go build"
	(cd "$root" && CGO_ENABLED=${CGO_ENABLED:-0} go build -trimpath -ldflags '-w -s' \
		-tags nobadger,nomysql,nopgx -o "$output" ./cmd/caddy)
}

build() {
	local output=$1
	shift
	need_go
	if command -v xcaddy >/dev/null; then
		build_with_xcaddy "$output" "$@"
	elif [ $# -gt 0 ]; then
		die "--with needs xcaddy, and there is none on PATH. Install it with
    go install github.com/caddyserver/xcaddy/cmd/xcaddy@$xcaddy_version
and see to it that $(go env GOPATH)/bin is on PATH."
	else
		build_with_go "$output"
	fi
}

# listening reports whether a program on this machine listens on a port.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# need_port refuses a port that is taken. Caddy would not always notice: two
# Caddys may share a port, and each would get some of the requests.
need_port() {
	local name=$1 port=$2
	case $port in
	'' | *[!0-9]*) die "$name=$port: give a port number." ;;
	esac
	if listening "$port"; then
		die "port $port is taken by another program (an earlier quickstart, perhaps). Stop that program, or choose another port:
    $name=$((port + 1)) ./xcaddy.sh run"
	fi
}

# introduce waits until the quickstart answers and says what to do with it.
introduce() {
	local key user tries=0
	key=$(sed -n 's/^CRM_SYNC_KEY=//p' "$root/examples/quickstart/quickstart.env")
	user="X-HubSpot-User: acme"
	until listening "$SIDECAR_PORT" && listening "$SANDBOX_PORT"; do
		tries=$((tries + 1))
		# $$ is Caddy by now; if it is gone, it has said why.
		if [ "$tries" -gt 300 ] || ! kill -0 $$ 2>/dev/null; then return; fi
		sleep 0.1
	done
	cat <<-END

		caddy-hubspot quickstart: a sidecar, and a sandbox instead of HubSpot

		  Open     http://localhost:$SIDECAR_PORT/   and press "Connect to HubSpot"
		  Sandbox  http://localhost:$SANDBOX_PORT/

		Then try, in another terminal, what a program would do:

		  # call HubSpot's API as the customer acme
		  curl -H 'Authorization: Bearer $key' -H '$user' 'http://localhost:$SIDECAR_PORT/crm/objects/2026-09/contacts?limit=3'

		  # get an install link for another customer
		  curl -H 'Authorization: Bearer $key' 'http://localhost:$SIDECAR_PORT/hubspot/auth/hbdev?userForeignIdentifier=globex'

		  # see who is connected
		  curl -H 'Authorization: Bearer $key' 'http://localhost:$SIDECAR_PORT/hubspot/connections/hbdev'

		Connections are kept, encrypted, in examples/quickstart/data, and are there
		again after a restart. Stop with Ctrl-C.

	END
}

# run replaces this script with Caddy, so that signals reach Caddy directly.
run() {
	export SIDECAR_PORT=${SIDECAR_PORT:-8080} SANDBOX_PORT=${SANDBOX_PORT:-4000} ADMIN_PORT=${ADMIN_PORT:-2019}
	need_port SIDECAR_PORT "$SIDECAR_PORT"
	need_port SANDBOX_PORT "$SANDBOX_PORT"
	need_port ADMIN_PORT "$ADMIN_PORT"
	local caddy
	caddy=$root/caddy$(go env GOEXE 2>/dev/null || true)
	build "$caddy" "$@"
	introduce &
	cd "$root/examples/quickstart"
	exec "$caddy" run --config Caddyfile --envfile quickstart.env
}

main() {
	local command=build output=
	local -a with=()
	case ${1-} in
	build | run) command=$1 && shift ;;
	help | -h | --help) usage && return ;;
	esac
	while [ $# -gt 0 ]; do
		case $1 in
		--with | --output) ;;
		*) die "unknown argument $1; see ./xcaddy.sh help" ;;
		esac
		[ -n "${2-}" ] || die "$1 needs a value; see ./xcaddy.sh help"
		if [ "$1" = --with ]; then with+=(--with "$2"); else output=$2; fi
		shift 2
	done
	if [ "$command" = run ]; then
		[ -z "$output" ] || die "run takes no --output; it builds ./caddy"
		run ${with[@]+"${with[@]}"}
		return
	fi
	case $output in
	'') output=$root/caddy$(go env GOEXE 2>/dev/null || true) ;;
	/*) ;;
	*) output=$PWD/$output ;;
	esac
	build "$output" ${with[@]+"${with[@]}"}
}

main "$@"
