package vaultstore

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
)

// maxAnswer bounds what is read of an answer. The largest are listings, some
// 35 bytes per connection of a shard.
const maxAnswer = 32 << 20

// newTransport makes the transport to Vault. It uses no proxy, whatever the
// environment says. It speaks HTTP/1.1 only: over HTTP/2 one connection that
// went dead without a word would hold up every request until TCP gives up
// (https://github.com/golang/go/issues/36026), here it costs one request.
func newTransport(c TLS) (*http.Transport, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              protocols,
	}, nil
}

func (c TLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		content, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca: reading the file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, errors.New("ca: the file has no PEM certificate")
		}
	}
	if c.ClientCertFile != "" {
		if _, err := c.clientCertificate(nil); err != nil {
			return nil, err
		}
		config.GetClientCertificate = c.clientCertificate
	}
	return config, nil
}

// clientCertificate reads the pair anew, because such certificates are
// short-lived and replaced in place.
func (c TLS) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile)
	if err != nil {
		return nil, fmt.Errorf("client_cert: reading certificate and key: %w", err)
	}
	return &pair, nil
}

// checkRedirect follows a standby to the active node, once, and never from
// https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > 1:
		return errors.New("vault redirects more than once")
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("vault redirects from https to http")
	}
	return nil
}

// answers lets through what Vault may have answered. To vault/api every 404
// and every empty answer means that there is no secret, whoever sent it.
type answers struct{ http.RoundTripper }

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, errors.New("vault's answer is too large")
	}
	if err := checkAnswer(req.Method, resp, body); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func checkAnswer(method string, resp *http.Response, body []byte) error {
	var content struct {
		Errors []string `json:"errors"`
	}
	isJSON := json.Unmarshal(body, &content) == nil
	switch status := resp.StatusCode; {
	case status == http.StatusNotFound && (!isJSON || len(content.Errors) > 0):
		return statusError{&api.ResponseError{StatusCode: status, Errors: content.Errors, RawError: !isJSON}}
	case status >= 400:
		return nil
	case status >= 300:
		if _, err := resp.Location(); err != nil || status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect {
			return fmt.Errorf("vault redirects with status %d", status)
		}
	case method == http.MethodGet && (!isJSON || content.Errors != nil):
		return errNotVault
	}
	return nil
}

// CloseIdleConnections is called by [http.Client].
func (a answers) CloseIdleConnections() {
	(&http.Client{Transport: a.RoundTripper}).CloseIdleConnections()
}
