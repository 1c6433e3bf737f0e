package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/portalusers"
)

// tokenTimeout bounds one call to HubSpot's token endpoint.
const tokenTimeout = 10 * time.Second

// managerSettings is everything that shapes a connection manager; its key is
// made of it.
type managerSettings struct {
	Store pool.Key
	// App is the app's name in lower case.
	App string
	// Endpoints has no Authorize, where managers have nothing to ask.
	Endpoints hubspot.Endpoints
	// Static are the client credentials; Stored says where in the store they
	// are instead.
	Static hubspot.Credentials
	Stored string
	// StaticApp says that there are none.
	StaticApp    bool
	Fallback     *fallback
	RefreshQuota appconfig.Rate
}

// pooledManager is the connection manager of an app, with what it holds on to
// for as long as it lives.
type pooledManager struct {
	key         pool.Key
	manager     *connection.Manager
	portalUsers *portalusers.Directory
	credentials hubspot.CredentialSource
	http        *http.Client
	observers   pool.Newest[connection.Observer]
	// releaseStore lets the store be closed, and uncount takes the manager's
	// connections out of the metrics.
	releaseStore, uncount func()
}

// acquireManager makes the manager of an app or takes the one that an earlier
// config made with the same settings. It tells this config what happens for as
// long as this is the newest.
func (g *Generation) acquireManager(app appconfig.Resolved) (*pooledManager, error) {
	c := managerSettings{
		Store:     g.store.key,
		App:       appconfig.CanonicalName(app.Name),
		Endpoints: hubspot.Endpoints{API: g.endpoints.API, Version: g.endpoints.Version},
		Static: hubspot.Credentials{
			ClientID: app.ClientID, Secret: app.ClientSecret, NextSecret: app.ClientSecretNext,
		},
		Stored:       app.CredentialsPath,
		StaticApp:    app.Static,
		Fallback:     g.fallback,
		RefreshQuota: app.RefreshQuota,
	}
	key := pool.KeyOf("manager", c)
	p, err := acquire(&g.releases, key, func() (*pooledManager, error) { return newPooledManager(key, c, g.store, g.car) })
	if err != nil {
		return nil, err
	}
	g.releases = append(g.releases, p.observers.Attach(g.car.observer))
	return p, nil
}

func newPooledManager(key pool.Key, c managerSettings, store *pooledStore, car *Sidecar) (*pooledManager, error) {
	m := car.metrics
	p := &pooledManager{
		key:  key,
		http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: tokenTimeout},
	}
	client := &hubspot.Client{HTTP: p.http, Endpoints: c.Endpoints, SecretUsed: car.secrets.Of(c.App).Note}
	provider, err := p.provider(client, c, store)
	if err != nil {
		return nil, err
	}
	var copies connection.Fallback
	if c.Fallback != nil {
		if copies, err = c.Fallback.open(); err != nil {
			return nil, err
		}
	}
	if p.releaseStore, err = store.hold(); err != nil {
		return nil, err
	}
	p.portalUsers = portalusers.New(func(ctx context.Context, isWanted func(int64) bool, do func(connection.Record) error) error {
		return p.manager.EachOfPortals(ctx, isWanted, do)
	})
	// The host name tells operators whose claim stands in a record.
	owner, _ := os.Hostname()
	p.manager = connection.NewManager(connection.Config{
		App:          c.App,
		Store:        m.MeasureStore(store.name, store.store),
		Provider:     provider,
		Fallback:     copies,
		RefreshCount: c.RefreshQuota.Count,
		RefreshPer:   c.RefreshQuota.Per,
		Owner:        owner,
		Observer:     newestObserver{&p.observers, p.portalUsers},
	})
	p.manager.Follow()
	uncount, end := m.CountConnections(c.App, p.manager), m.BeginApp(c.App)
	p.uncount = func() { uncount(); end() }
	return p, nil
}

// hold keeps the manager open for a pooled value that uses it.
func (p *pooledManager) hold() (release func(), err error) {
	_, release, err = pool.Acquire(p.key, func() (*pooledManager, error) {
		return nil, errors.New("the app's connection manager is closed")
	})
	return release, err
}

// provider gives the client its credentials.
func (p *pooledManager) provider(client *hubspot.Client, c managerSettings, store *pooledStore) (connection.Provider, error) {
	if c.StaticApp {
		p.credentials = hubspot.NoCredentials{}
		client.Credentials = p.credentials
		return &hubspot.StaticClient{HTTP: p.http, Endpoints: c.Endpoints}, nil
	}
	if c.Stored == "" {
		p.credentials = hubspot.StaticCredentials(c.Static)
		client.Credentials = p.credentials
		return client, nil
	}
	keeper, ok := store.own.(hubapp.CredentialStore)
	if !ok {
		return nil, fmt.Errorf("credentials: store %s does not keep client credentials; use store vault, or give client_id and client_secret", store.name)
	}
	stored := hubapp.NewStoredCredentials(keeper, c.Stored)
	p.credentials = stored
	client.Credentials = stored
	return stored.Provider(client), nil
}

// Destruct closes the manager and lets its store be closed after it. Requests
// that still run keep working with both.
func (p *pooledManager) Destruct() error {
	p.uncount()
	pool.CloseSoon(func(ctx context.Context) {
		_ = p.manager.Close(ctx)
		p.http.CloseIdleConnections()
		p.releaseStore()
	})
	return nil
}

// GoString keeps a pool's panic from printing what the manager holds.
func (p *pooledManager) GoString() string { return "pooledManager(" + p.key.String() + ")" }

// newestObserver is the observer of the newest config, and what has to know too.
type newestObserver struct {
	*pool.Newest[connection.Observer]
	portalUsers *portalusers.Directory
}

// Event implements [connection.Observer].
func (o newestObserver) Event(e connection.Event) {
	o.portalUsers.Event(e)
	if observer, ok := o.Get(); ok {
		observer.Event(e)
	}
}
