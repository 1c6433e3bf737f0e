package sidecar

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
)

// keysAt is where the public keys of an issuer of JWTs are: one of both is set.
// The key of a pooled key set is made of it.
type keysAt struct{ URL, File string }

// pooledKeySet keeps the keys of an issuer over config reloads, so that a
// reload while the issuer is away does not lose them.
type pooledKeySet struct {
	set  *jwtauth.KeySet
	logs pool.Newest[slog.Handler]
}

// acquireKeySet makes the key set or takes the one that an earlier config made.
func (g *Generation) acquireKeySet(at keysAt) (*jwtauth.KeySet, error) {
	p, err := acquire(&g.releases, pool.KeyOf("keys", at), func() (*pooledKeySet, error) {
		p := new(pooledKeySet)
		logs := slog.New(pool.Handler(&p.logs))
		var err error
		if at.File != "" {
			if p.set, err = jwtauth.NewFileKeySet(at.File, logs); err != nil {
				return nil, fmt.Errorf("jwks_file: %w", err)
			}
			return p, nil
		}
		if p.set, err = jwtauth.NewURLKeySet(at.URL, nil, logs); err != nil {
			return nil, fmt.Errorf("jwks_url: %w", err)
		}
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	g.releases = append(g.releases, p.logs.Attach(g.car.logger.Handler()))
	return p.set, nil
}

// Destruct ends the fetch that may be under way.
func (p *pooledKeySet) Destruct() error {
	pool.CloseSoon(func(context.Context) { p.set.Close() })
	return nil
}
