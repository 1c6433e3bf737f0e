// Package peercred tells which user and group of the operating system is at
// the other end of a unix socket. Only Linux does so; see [Known].
package peercred

import "context"

// Peer is the user and the group of the process at the other end of a unix
// socket, when it connected.
type Peer struct{ UID, GID uint32 }

type key struct{}

// With returns a context that knows the peer of its connection.
func With(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, key{}, p)
}

// FromContext returns the peer that [With] has put into ctx. ok is false where
// it is not known.
func FromContext(ctx context.Context) (p Peer, ok bool) {
	p, ok = ctx.Value(key{}).(Peer)
	return p, ok
}
