package sidecar

import (
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// limiterSettings is everything that shapes a limiter; its key is made of it.
// Two apps of the config with one client ID are one for HubSpot, so they share
// it.
type limiterSettings struct {
	API string
	// ClientID or Stored, where the credentials are in the store, says which
	// app it is for HubSpot.
	ClientID, Stored   string
	Quota, SearchQuota appconfig.Rate
}

// pooledLimiter paces the requests of an app over config reloads.
type pooledLimiter struct {
	limiter *quota.Limiter
	// unwatch takes the limiter's headroom out of the metrics.
	unwatch func()
}

// acquireLimiter makes the limiter of an app or takes the one that an earlier
// config made with the same settings.
func (g *Generation) acquireLimiter(app appconfig.Resolved) (*quota.Limiter, error) {
	c := limiterSettings{
		API: g.endpoints.API, ClientID: app.ClientID, Stored: app.CredentialsPath, Quota: app.Quota, SearchQuota: app.SearchQuota,
	}
	p, err := acquire(&g.releases, pool.KeyOf("quota", c), func() (*pooledLimiter, error) {
		limiter := quota.NewLimiter(quota.Config{Burst: quota.Rate(c.Quota), Search: quota.Rate(c.SearchQuota)})
		return &pooledLimiter{limiter: limiter, unwatch: g.car.metrics.WatchQuota(appconfig.CanonicalName(app.Name), limiter)}, nil
	})
	if err != nil {
		return nil, err
	}
	return p.limiter, nil
}

// Destruct takes the limiter out of the metrics. Requests that still wait are
// served.
func (p *pooledLimiter) Destruct() error {
	p.unwatch()
	return nil
}
