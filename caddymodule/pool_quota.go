package caddymodule

import (
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/quota"
)

// pooledLimiter paces the requests of an app over config reloads. Two apps
// of the config with one client ID are one for HubSpot, so they share it.
type pooledLimiter struct {
	limiter *quota.Limiter
	// uncount takes the limiter's headroom out of the metrics.
	uncount func()
}

// acquireLimiter makes the limiter of an app or takes the one that an earlier
// config made with the same settings.
func acquireLimiter(settings appconfig.Resolved, endpoints hubspot.Endpoints, name string, m *metrics) (*quota.Limiter, func(), error) {
	key := newKeyMaker("quota").
		add("api", endpoints.WithDefaults().API).
		add("client", settings.ClientID, settings.CredentialsPath).
		add("quota", settings.Quota.String(), settings.SearchQuota.String()).
		key()
	p, release, err := acquire(key, func() (*pooledLimiter, error) {
		limiter := quota.NewLimiter(quota.Config{
			Burst:  quota.Rate(settings.Quota),
			Search: quota.Rate(settings.SearchQuota),
		})
		return &pooledLimiter{limiter: limiter, uncount: m.headroom.add(name, limiter)}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return p.limiter, release, nil
}

// Destruct takes the limiter out of the metrics. Requests that still wait are
// served.
func (p *pooledLimiter) Destruct() error {
	p.uncount()
	return nil
}
