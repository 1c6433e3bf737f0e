package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// tokenTimeout bounds one call to HubSpot's token endpoint.
const tokenTimeout = 10 * time.Second

// managerSettings is everything that shapes a connection manager.
type managerSettings struct {
	app       string
	endpoints hubspot.Endpoints
	// static are the client credentials; stored says where in the store
	// they are instead.
	static       hubspot.Credentials
	stored       string
	fallback     *FallbackCache
	refreshCount int
	refreshPer   time.Duration
}

func (s managerSettings) key(store *pooledStore) poolKey {
	return newKeyMaker("manager").
		add("store", string(store.key.sum[:])).
		add("app", s.app).
		add("endpoints", s.endpoints.API, s.endpoints.Version).
		add("credentials", s.static.ClientID, s.static.Secret.Reveal(), s.static.NextSecret.Reveal(), s.stored).
		add("fallback_cache", s.fallback.identity()...).
		add("refresh_quota", strconv.Itoa(s.refreshCount), s.refreshPer.String()).
		key()
}

// pooledManager is the connection manager of an app, with what it holds on
// to for as long as it lives.
type pooledManager struct {
	key         poolKey
	manager     *connection.Manager
	credentials hubspot.CredentialSource
	http        *http.Client
	observers   newest[connection.Observer]
	// releaseStore lets the store be closed, and uncount takes the
	// manager's connections out of the metrics.
	releaseStore, uncount func()
}

// acquireManager makes the manager or takes the one that an earlier config
// made with the same settings. o is told what happens for as long as its
// config is the newest.
func acquireManager(s managerSettings, store *pooledStore, m *metrics, o connection.Observer) (*pooledManager, func(), error) {
	key := s.key(store)
	p, release, err := acquire(key, func() (*pooledManager, error) { return newPooledManager(key, s, store, m) })
	if err != nil {
		return nil, nil, err
	}
	detach := p.observers.attach(o)
	return p, func() { detach(); release() }, nil
}

func newPooledManager(key poolKey, s managerSettings, store *pooledStore, m *metrics) (*pooledManager, error) {
	p := &pooledManager{
		key:  key,
		http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: tokenTimeout},
	}
	client := &hubspot.Client{HTTP: p.http, Endpoints: s.endpoints}
	provider, err := p.provider(client, s, store)
	if err != nil {
		return nil, err
	}
	var fallback connection.Fallback
	if s.fallback != nil {
		if fallback, err = s.fallback.open(); err != nil {
			return nil, err
		}
	}
	if p.releaseStore, err = store.hold(); err != nil {
		return nil, err
	}
	// The host name tells operators whose claim stands in a record.
	owner, _ := os.Hostname()
	p.manager = connection.NewManager(connection.Config{
		App:          s.app,
		Store:        &measuredStore{Store: store.store, name: store.name, metrics: m},
		Provider:     provider,
		Fallback:     fallback,
		RefreshCount: s.refreshCount,
		RefreshPer:   s.refreshPer,
		Owner:        owner,
		Observer:     newestObserver{&p.observers},
	})
	p.uncount = m.connections.add(s.app, p.manager)
	return p, nil
}

// provider gives the client its credentials.
func (p *pooledManager) provider(client *hubspot.Client, s managerSettings, store *pooledStore) (connection.Provider, error) {
	if s.stored == "" {
		p.credentials = hubspot.StaticCredentials(s.static)
		client.Credentials = p.credentials
		return client, nil
	}
	keeper, ok := store.store.(CredentialStore)
	if !ok {
		return nil, fmt.Errorf("credentials: store %s does not keep client credentials; use store vault, or give client_id and client_secret", store.name)
	}
	stored := newStoredCredentials(keeper, s.stored)
	p.credentials = stored
	client.Credentials = stored
	return refusals{client, stored}, nil
}

// Destruct closes the manager and lets its store be closed after it. Requests
// that still run keep working with both.
func (p *pooledManager) Destruct() error {
	p.uncount()
	closeSoon(func(ctx context.Context) {
		_ = p.manager.Close(ctx)
		p.http.CloseIdleConnections()
		p.releaseStore()
	})
	return nil
}

// GoString keeps a pool's panic from printing what the manager holds.
func (p *pooledManager) GoString() string { return "pooledManager(" + p.key.String() + ")" }

// newestObserver is the observer of the newest config.
type newestObserver struct {
	*newest[connection.Observer]
}

// Event implements [connection.Observer].
func (o newestObserver) Event(e connection.Event) {
	if observer, ok := o.get(); ok {
		observer.Event(e)
	}
}
