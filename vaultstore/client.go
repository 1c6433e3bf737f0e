package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// backgroundTimeout bounds a login, which no request waits for longer than
// its own timeout.
const backgroundTimeout = 10 * time.Second

// errTimeout is the cause of a context that the store ended itself.
var errTimeout = errors.New("vault did not answer in time")

// client has what all calls of Vault share.
type client struct {
	timeout time.Duration
	breaker *breaker
	http    *http.Client
	// base sends through http. It is never used itself, only copied by as:
	// a copy that is made while the original is in use is a data race.
	base *api.Client
	// fresh makes a connection of its own for every request, with the
	// client certificate as it is now. Logins use it, one at a time.
	fresh *api.Client
}

func newClient(c Config) (*client, error) {
	transport, err := newTransport(c.TLS)
	if err != nil {
		return nil, err
	}
	single := transport.Clone()
	single.DisableKeepAlives = true
	pooled := &http.Client{Transport: answers{transport}, CheckRedirect: checkRedirect}
	base, err := newAPI(c, pooled)
	if err != nil {
		return nil, err
	}
	fresh, err := newAPI(c, &http.Client{Transport: answers{single}, CheckRedirect: checkRedirect})
	if err != nil {
		return nil, err
	}
	return &client{timeout: c.Timeout, http: pooled, base: base, fresh: fresh}, nil
}

// newAPI returns a client of vault/api that has nothing from the environment.
// It has no timeout, because contexts say whose patience ended, and it sends
// once: a write that is sent again is in conflict with itself.
func newAPI(c Config, hc *http.Client) (*api.Client, error) {
	v, err := api.NewClient(&api.Config{
		Address: c.Address, HttpClient: hc,
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
	})
	if err != nil {
		return nil, errEnvironment()
	}
	v.ClearToken()
	v.SetHeaders(http.Header{api.RequestHeaderName: {"true"}, "User-Agent": {"caddy-hubspot"}})
	v.SetNamespace(c.Namespace)
	v.SetWrappingLookupFunc(func(string, string) string { return "" })
	return v, nil
}

// errEnvironment names the variables that can make api.NewClient fail,
// whatever it is told. Its own error may quote their values.
func errEnvironment() error {
	set := slices.DeleteFunc([]string{
		api.EnvVaultCACert, api.EnvVaultCACertBytes, api.EnvVaultCAPath, api.EnvVaultClientCert, api.EnvVaultClientKey,
		api.EnvVaultClientTimeout, api.EnvVaultDisableRedirects, api.EnvVaultHeaders, api.EnvHTTPProxy, api.EnvVaultProxyAddr,
		api.EnvVaultMaxRetries, api.EnvRateLimit, api.EnvVaultSkipVerify, api.EnvVaultSRVLookup,
	}, func(name string) bool { return os.Getenv(name) == "" })
	return fmt.Errorf("vault's client library reads the environment, of which nothing is used, and something there is malformed: "+
		"correct or unset %s", strings.Join(set, ", "))
}

// as returns a client for one call with a token, or with none.
func (c *client) as(token secret.Text) *api.Client {
	return c.base.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = token.Reveal() })
}

// ask makes a call of vault/api unless Vault is known not to answer, and
// gives the outcome to the breaker.
func ask[T any](ctx context.Context, c *client, call func() (T, error)) (T, error) {
	if err := c.breaker.allow(); err != nil {
		var none T
		return none, err
	}
	started := time.Now()
	got, err := call()
	err = plain(ctx, err)
	switch {
	case !isOutage(err):
		c.breaker.succeeded()
	case !c.endedByCaller(ctx, started):
		c.breaker.failed(err)
	}
	return got, err
}

// endedByCaller reports whether a failure says nothing about Vault because
// the caller did not wait long enough for it.
func (c *client) endedByCaller(ctx context.Context, started time.Time) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout) && time.Since(started) < c.timeout/2
}

// plain turns an error of vault/api into one that has no path in its text,
// and says whose patience ended.
func plain(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*api.ResponseError](err); ok {
		return statusError{e}
	}
	if e, ok := errors.AsType[statusError](err); ok {
		return e
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, api.ErrSecretNotFound):
		return connection.ErrNotFound
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok && !errors.Is(err, errNotVault) {
		return fmt.Errorf("asking vault: %w", e.Err)
	}
	// The answer came, and vault/api could make nothing of it.
	return errNotVault
}

// gaveUp is the error of a caller whose context ended while others asked
// Vault for what it needs. They have more time than callers; it is the
// callers' that counts for the breaker.
func (c *client) gaveUp(ctx context.Context) error {
	err := context.Cause(ctx)
	if errors.Is(err, errTimeout) {
		c.breaker.failed(err)
	}
	return unavailable(err)
}

// unavailable makes err one that callers know.
func unavailable(err error) error {
	if errors.Is(err, connection.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", connection.ErrUnavailable, err)
}
