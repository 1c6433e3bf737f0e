package hubspot

import (
	"io"
	"net/http"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// maxAnswerSize caps an answer of the token endpoint; good ones are below
// 2 KiB with every scope there is.
const maxAnswerSize = 64 << 10

const defaultTimeout = 15 * time.Second

// call is one HTTP exchange with the token endpoint.
type call struct {
	client *http.Client
	base   http.RoundTripper
	// sent are the secrets of the request.
	sent []secret.Text
	// status is that of the answer, 0 as long as there is none.
	status int
}

// newCall prepares a client for a single request from the configured one.
// sent are the secrets that the request will carry.
func (c *Client) newCall(sent ...secret.Text) *call {
	client := http.Client{Timeout: defaultTimeout}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	call := &call{base: client.Transport, sent: sent}
	if call.base == nil {
		call.base = http.DefaultTransport
	}
	client.Transport = call
	client.Jar = nil
	// Following a redirect would carry the client secret and the refresh
	// token to wherever it points.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	call.client = &client
	return call
}

// RoundTrip implements [http.RoundTripper].
func (c *call) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-hubspot")
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	c.status = resp.StatusCode
	// x/oauth2 would read a body labelled text/plain as a form. HubSpot
	// sends JSON, and what is not JSON is a broken answer.
	resp.Header = resp.Header.Clone()
	resp.Header.Set("Content-Type", "application/json")
	resp.Body = cappedBody{Reader: io.LimitReader(resp.Body, maxAnswerSize), Closer: resp.Body}
	return resp, nil
}

type cappedBody struct {
	io.Reader
	io.Closer
}
