package caddymodule

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
)

// pooledKeySet keeps the keys of an issuer of JWTs over config reloads, so
// that a reload while the issuer is away does not lose them.
type pooledKeySet struct {
	set  *jwtauth.KeySet
	logs newest[slog.Handler]
}

// acquireKeySet makes the key set of a caller's expanded settings or takes the
// one that an earlier config made.
func acquireKeySet(j *CallerJWT, logger *slog.Logger) (*jwtauth.KeySet, func(), error) {
	key := newKeyMaker("keys").add("url", j.JWKSURL).add("file", j.JWKSFile).key()
	p, release, err := acquire(key, func() (*pooledKeySet, error) {
		p := new(pooledKeySet)
		logs := slog.New(newestHandler{logs: &p.logs})
		var err error
		if j.JWKSFile != "" {
			if p.set, err = jwtauth.NewFileKeySet(j.JWKSFile, logs); err != nil {
				return nil, fmt.Errorf("jwks_file: %w", err)
			}
			return p, nil
		}
		if p.set, err = jwtauth.NewURLKeySet(j.JWKSURL, nil, logs); err != nil {
			return nil, fmt.Errorf("jwks_url: %w", err)
		}
		return p, nil
	})
	if err != nil {
		return nil, nil, err
	}
	detach := p.logs.attach(logger.Handler())
	return p.set, func() { detach(); release() }, nil
}

// Destruct ends the fetch that may be under way.
func (p *pooledKeySet) Destruct() error {
	closeSoon(func(context.Context) { p.set.Close() })
	return nil
}
