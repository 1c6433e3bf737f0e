package sidecar

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

// tagTimeout bounds how long the log waits for the tags of a frozen user.
const tagTimeout = 5 * time.Second

// freezeSettings is everything that shapes a keeper of freezes; its key is made
// of it.
type freezeSettings struct {
	Store    pool.Key
	Fallback *fallback
}

// pooledFreezes knows what is frozen by a store's list, over config reloads.
type pooledFreezes struct {
	key         pool.Key
	keeper      *freeze.Keeper
	generations pool.Newest[*Generation]
	// releaseStore lets the store be closed, and uncount takes the freezes
	// out of the metrics.
	releaseStore, uncount func()
}

// provisionFreezes makes the keeper of the store's freezes or takes the one
// that an earlier config made. It reads nothing yet. The apps are there when it
// is called: the generation is told what changes from then on.
func (g *Generation) provisionFreezes() error {
	key := pool.KeyOf("freezes", freezeSettings{Store: g.store.key, Fallback: g.fallback})
	p, err := acquire(&g.releases, key, func() (*pooledFreezes, error) { return g.newPooledFreezes(key) })
	if err != nil {
		return err
	}
	g.freezes = p.keeper
	g.releases = append(g.releases, p.generations.Attach(g))
	return nil
}

func (g *Generation) newPooledFreezes(key pool.Key) (*pooledFreezes, error) {
	p := &pooledFreezes{key: key}
	config := freeze.Config{
		Logger: slog.New(pool.Handler(&g.store.logs)),
		Changed: func(added, lifted []freeze.Freeze) {
			if newest, ok := p.generations.Get(); ok {
				newest.freezesChanged(added, lifted)
			}
		},
	}
	if documents, ok := g.store.store.(connection.DocumentStore); ok {
		config.Store = g.car.metrics.MeasureDocuments(g.store.name, documents)
	}
	if g.fallback != nil {
		copies, err := g.fallback.open()
		if err != nil {
			return nil, err
		}
		config.Copies = copies
	}
	var err error
	if p.releaseStore, err = g.store.hold(); err != nil {
		return nil, err
	}
	p.keeper = freeze.New(config)
	p.uncount = g.car.metrics.CountFreezes(p.keeper)
	return p, nil
}

// Destruct stops to look at the list, and lets the store be closed after that.
// Requests that still run go by the last one.
func (p *pooledFreezes) Destruct() error {
	p.uncount()
	pool.CloseSoon(func(context.Context) {
		p.keeper.Close()
		p.releaseStore()
	})
	return nil
}

// GoString keeps a pool's panic from printing what is frozen.
func (p *pooledFreezes) GoString() string { return "pooledFreezes(" + p.key.String() + ")" }

// freezesChanged writes down what was frozen and what was lifted, here or at
// another sidecar. Users are there by their tags, which each app has its own
// of; reasons are free text and may name anybody.
func (g *Generation) freezesChanged(added, lifted []freeze.Freeze) {
	for _, f := range added {
		g.car.logger.LogAttrs(g.car.ctx, slog.LevelWarn, "an operator has frozen calls", g.freezeFields(f)...)
	}
	for _, f := range lifted {
		g.car.logger.LogAttrs(g.car.ctx, slog.LevelInfo, "an operator has lifted a freeze", g.freezeFields(f)...)
	}
}

func (g *Generation) freezeFields(f freeze.Freeze) []slog.Attr {
	fields := []slog.Attr{slog.Any("dimensions", f.Dimensions()), slog.Time("since", f.Since)}
	if f.App != "" {
		fields = append(fields, slog.String("app", f.App))
	}
	if f.Caller != "" {
		fields = append(fields, slog.String("caller", f.Caller))
	}
	if f.User != "" {
		fields = append(fields, slog.Any("user_tags", g.tags(f.App, f.User)))
	}
	if f.By != "" {
		fields = append(fields, slog.String("by", f.By))
	}
	return fields
}

// tags are those of a user in one app, or in all.
func (g *Generation) tags(app, user string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), tagTimeout)
	defer cancel()
	var tags []string
	for _, a := range g.apps {
		if app == "" || strings.EqualFold(app, a.Name) {
			tags = append(tags, a.Manager.Tag(ctx, user))
		}
	}
	return tags
}
