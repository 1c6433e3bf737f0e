package sidecar

import (
	"fmt"
	"log/slog"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/journals"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/journal"
)

// journalSettings is everything that shapes what follows an app's journal; its
// key is made of it.
type journalSettings struct {
	Manager pool.Key
	AppID   int64
	// Endpoints has no Authorize.
	Endpoints hubspot.Endpoints
}

// provisionJournal has an app's journal followed, where its settings say so. It
// reads nothing yet.
func (g *Generation) provisionJournal(app *hubapp.App, manager *pooledManager) error {
	if !app.Settings.Journal {
		return nil
	}
	c := journalSettings{
		Manager: manager.key, AppID: app.Settings.AppID,
		Endpoints: hubspot.Endpoints{API: g.endpoints.API, Version: g.endpoints.Version},
	}
	p, err := acquire(&g.releases, pool.KeyOf("journal", c), func() (*journals.Pooled, error) {
		config := journal.Config{
			App: app.Name, AppID: c.AppID, Endpoints: c.Endpoints, Manager: manager.manager,
			Logger: slog.New(pool.Handler(&g.store.logs)), Observer: g.car.metrics,
		}
		if documents, ok := g.store.store.(connection.DocumentStore); ok {
			config.Store = g.car.metrics.MeasureDocuments(g.store.name, documents)
		}
		return journals.New(config, manager.hold)
	})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if g.journals == nil {
		g.journals = make(map[string]*journals.Pooled)
	}
	g.journals[app.Name] = p
	return nil
}

// journalStatus returns nil for an app whose journal is not followed.
func (g *Generation) journalStatus(app string) *journal.Status {
	if g.journals[app] == nil {
		return nil
	}
	s := g.journals[app].Status()
	return &s
}
