package sidecar

import (
	"context"
	"net"
	"reflect"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/peercred"
)

// NotePeers has the server of a handler that is being provisioned note the
// peers of its connections, if any caller is known by them.
func (s *Sidecar) NotePeers(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	callers := s.live.current.Load().callers
	if !ok || callers == nil || !callers.HasPeers() {
		return
	}
	server.RegisterConnContext(withPeer)
}

// withPeer adds the peer of a connection to its context. Each handler of a
// server has it called.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if _, noted := peercred.FromContext(ctx); noted {
		return ctx
	}
	conn := unixConn(c)
	if conn == nil {
		return ctx
	}
	p, err := peercred.Of(conn)
	if err != nil {
		return ctx
	}
	return peercred.With(ctx, p)
}

// maxWrappers is how many layers there may be around a connection.
const maxWrappers = 8

// unixConn returns the unix connection that c is or wraps, or nil. A wrapper
// that is not known is not looked into: it may speak for somebody else, as
// one for the PROXY protocol does.
func unixConn(c net.Conn) *net.UnixConn {
	for range maxWrappers {
		switch conn := c.(type) {
		case nil:
			return nil
		case *net.UnixConn:
			return conn
		case interface{ NetConn() net.Conn }: // TLS
			c = conn.NetConn()
		default:
			c = caddyInner(c)
		}
	}
	return nil
}

// caddyInner returns what a connection of Caddy's own embeds, or nil for
// another. Caddy wraps connections where a server speaks fewer protocols than
// by default, and has no method to get at them.
func caddyInner(c net.Conn) net.Conn {
	v := reflect.Indirect(reflect.ValueOf(c))
	if v.Kind() != reflect.Struct || v.Type().PkgPath() != reflect.TypeFor[caddyhttp.Server]().PkgPath() {
		return nil
	}
	field := v.FieldByName("Conn")
	if !field.IsValid() || !field.CanInterface() {
		return nil
	}
	inner, _ := reflect.TypeAssert[net.Conn](field)
	return inner
}
