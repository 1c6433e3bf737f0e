package vaultstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	// maxAnswer bounds what is read of an answer. The largest are
	// listings, some 35 bytes per connection of a shard.
	maxAnswer = 32 << 20
	// backgroundTimeout bounds a login, which no request waits for longer
	// than its own timeout.
	backgroundTimeout = 10 * time.Second
)

// errTimeout is the cause of a context that the store ended itself.
var errTimeout = errors.New("vault did not answer in time")

// client sends requests to Vault's API, once each.
type client struct {
	base      url.URL
	namespace string
	timeout   time.Duration
	pooled    *http.Client
	// fresh makes a connection of its own for every request, with the
	// client certificate as it is now.
	fresh   *http.Client
	breaker *breaker
}

func newClient(c Config) (*client, error) {
	base, err := url.Parse(c.Address)
	if err != nil {
		return nil, errors.New("address is not a URL")
	}
	transport, err := newTransport(c.TLS)
	if err != nil {
		return nil, err
	}
	single := transport.Clone()
	single.DisableKeepAlives = true
	return &client{
		base:      *base.JoinPath("v1"),
		namespace: c.Namespace,
		timeout:   c.Timeout,
		pooled:    &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		fresh:     &http.Client{Transport: single, CheckRedirect: checkRedirect},
	}, nil
}

// checkRedirect follows a standby to the active node, once, and never from
// https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	status := req.Response.StatusCode
	switch {
	case len(via) > 1:
		return errors.New("vault redirects more than once")
	case status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect:
		return fmt.Errorf("vault redirects with status %d", status)
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("vault redirects from https to http")
	}
	return nil
}

// request is one call of Vault's API.
type request struct {
	method string
	// path is below /v1/, made of characters that need no escaping.
	path  string
	query string
	token secret.Text
	body  any
	// fresh asks for a connection of its own.
	fresh bool
	// root leaves the namespace out.
	root bool
}

// answer is what Vault said, whatever the status.
type answer struct {
	status int
	body   []byte
}

// send sends r unless Vault is known not to answer, and gives the outcome to
// the breaker. It returns an error if there was no answer.
func (c *client) send(ctx context.Context, r request) (answer, error) {
	if err := c.breaker.allow(); err != nil {
		return answer{}, err
	}
	started := time.Now()
	a, err := c.exchange(ctx, r)
	switch {
	case err != nil && c.endedByCaller(ctx, started):
	case err != nil:
		c.breaker.failed(err)
	case a.isOutage():
		c.breaker.failed(a.err())
	default:
		c.breaker.succeeded()
	}
	return a, err
}

// endedByCaller reports whether a failure says nothing about Vault because
// the caller did not wait long enough for it.
func (c *client) endedByCaller(ctx context.Context, started time.Time) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout) && time.Since(started) < c.timeout/2
}

func (c *client) exchange(ctx context.Context, r request) (answer, error) {
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return answer{}, err
	}
	hc := c.pooled
	if r.fresh {
		hc = c.fresh
	}
	resp, err := hc.Do(req)
	if err != nil {
		return answer{}, transportError(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, transportError(ctx, err)
	}
	if len(body) > maxAnswer {
		return answer{}, errors.New("vault's answer is too large")
	}
	return answer{status: resp.StatusCode, body: body}, nil
}

func (c *client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		content, err := json.Marshal(r.body)
		if err != nil {
			return nil, errors.New("encoding the request to vault")
		}
		body = bytes.NewReader(content)
	}
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, errors.New("making the request to vault")
	}
	req.Header.Set("User-Agent", "caddy-hubspot")
	// A Vault Agent may insist on this header, against forged requests.
	req.Header.Set("X-Vault-Request", "true")
	if c.namespace != "" && !r.root {
		req.Header.Set("X-Vault-Namespace", c.namespace)
	}
	if !r.token.IsZero() {
		req.Header.Set("X-Vault-Token", r.token.Reveal())
	}
	return req, nil
}

// transportError strips the URL, which has the path in it, and says whose
// patience ended.
func transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("asking vault: %w", err)
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

// close ends the idle connections.
func (c *client) close() {
	c.pooled.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}
