package queues

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/queueapi"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/natsqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

func init() {
	caddy.RegisterModule(NATS{})
}

const (
	defaultStream  = "HUBSPOT_WEBHOOKS"
	defaultSubject = "hubspot.webhooks"
)

// NATS keeps webhooks in NATS JetStream, version 2.12.1 or later, for sidecars on
// several machines: each takes what HubSpot sends it, and they share out the
// deliveries. A server that is away does not keep a config from loading.
//
// Placeholders in all settings are expanded when the config is loaded.
type NATS struct {
	// The servers, of one cluster: `nats://nats.internal:4222`, or `tls://…`.
	URLs []string `json:"urls,omitempty"`

	// The name of the stream. Beside it there are two key-value buckets,
	// called after it with `_STATE` and `_OWNERS` behind. What is missing is
	// made when the first webhook comes, if the user may. Default:
	// `HUBSPOT_WEBHOOKS`.
	Stream string `json:"stream,omitempty"`

	// What all subjects of the stream begin with. Default: `hubspot.webhooks`.
	Subject string `json:"subject,omitempty"`

	// How many bytes the stream may have: what waits, dead letters, and what
	// duplicates are recognised by. Beyond that HubSpot is told to come again
	// later. At least 1 MiB. Default: that of the stream; 1 GiB for one that is
	// made.
	MaxSize int64 `json:"max_size,omitempty"`

	// How many servers keep a copy of what is made. Default: 1.
	Replicas int `json:"replicas,omitempty"`

	// A file with a user's JWT and seed, as `nsc` writes it. It is read again
	// for each connection.
	Credentials string `json:"credentials,omitempty"`

	// A user, instead of `credentials`.
	User string `json:"user,omitempty"`

	// The user's password, as a placeholder such as `{env.NATS_PASSWORD}`.
	Password string `json:"password,omitempty"`

	// A token, as a placeholder, instead of `credentials` or `user`.
	Token string `json:"token,omitempty"`

	// A file with the certificates, in PEM, of the authorities that may have
	// signed the servers' certificates. Default: those of the system.
	CA string `json:"ca,omitempty"`

	// A file with the certificate that is shown to the servers, in PEM. It is
	// read again for each connection.
	ClientCert string `json:"client_cert,omitempty"`

	// A file with the private key of `client_cert`, in PEM.
	ClientKey string `json:"client_key,omitempty"`

	// config has the settings with placeholders expanded.
	config natsqueue.Config
}

// CaddyModule returns the Caddy module information.
func (NATS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  queueapi.Namespace + ".nats",
		New: func() caddy.Module { return new(NATS) },
	}
}

// UnmarshalCaddyfile sets up the queue from Caddyfile tokens. Syntax:
//
//	queue nats <url>... {
//	    stream      <name>
//	    subject     <prefix>
//	    max_size    <size>
//	    replicas    <number>
//	    credentials <file>
//	    user        <name>
//	    password    <placeholder>
//	    token       <placeholder>
//	    ca          <file>
//	    client_cert <file>
//	    client_key  <file>
//	}
func (n *NATS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume queue name
	n.URLs = d.RemainingArgs()
	if len(n.URLs) == 0 {
		return d.Err("queue nats: give the address of a NATS server, as in: queue nats nats://nats.internal:4222")
	}
	for _, url := range n.URLs {
		if placeholder.In(url) {
			continue
		}
		if err := natsqueue.CheckURL(url); err != nil {
			return d.Errf("queue nats: %v", err)
		}
	}
	return settings.Block(d, "queue nats", map[string]settings.Setting{
		"stream":      settings.Text(&n.Stream),
		"subject":     settings.Text(&n.Subject),
		"max_size":    maxSize(&n.MaxSize),
		"replicas":    {Parse: n.parseReplicas},
		"credentials": settings.Text(&n.Credentials),
		"user":        settings.Text(&n.User),
		"password":    settings.Secret(&n.Password),
		"token":       settings.Secret(&n.Token),
		"ca":          settings.Text(&n.CA),
		"client_cert": settings.Text(&n.ClientCert),
		"client_key":  settings.Text(&n.ClientKey),
	})
}

func (n *NATS) parseReplicas(d *caddyfile.Dispenser) error {
	value, err := settings.OneArg(d)
	if err != nil {
		return err
	}
	if n.Replicas, err = strconv.Atoi(value); err != nil || n.Replicas < 1 || n.Replicas > 5 {
		return d.Errf("replicas: %q is not a number from 1 to 5", value)
	}
	return nil
}

// Provision expands placeholders and checks the settings. It does not call NATS.
func (n *NATS) Provision(caddy.Context) error {
	if n.MaxSize != 0 && n.MaxSize < minMaxSize {
		return fmt.Errorf("queue nats: max_size: %d bytes are too few; give 1048576 (1 MiB) or more", n.MaxSize)
	}
	e := settings.NewExpander()
	n.config = natsqueue.Config{
		URLs:            e.List("urls", n.URLs),
		Stream:          e.Text("stream", n.Stream),
		Subject:         e.Text("subject", n.Subject),
		MaxBytes:        n.MaxSize,
		Replicas:        n.Replicas,
		CredentialsFile: e.Text("credentials", n.Credentials),
		User:            e.Text("user", n.User),
		Password:        e.Secret("password", n.Password),
		Token:           e.Secret("token", n.Token),
		TLS: natsqueue.TLS{
			CAFile:         e.Text("ca", n.CA),
			ClientCertFile: e.Text("client_cert", n.ClientCert),
			ClientKeyFile:  e.Text("client_key", n.ClientKey),
		},
	}
	if n.Stream == "" {
		n.config.Stream = defaultStream
	}
	if n.Subject == "" {
		n.config.Subject = defaultSubject
	}
	err := e.Err()
	if err == nil {
		err = n.config.Check()
	}
	if err != nil {
		return fmt.Errorf("queue nats: %w", err)
	}
	return nil
}

// QueueIdentity implements [queueapi.Module].
func (n *NATS) QueueIdentity() any {
	return struct {
		URLs            []string
		Stream, Subject string
	}{slices.Sorted(slices.Values(n.config.URLs)), n.config.Stream, n.config.Subject}
}

// QueueSettings implements [queueapi.Module].
func (n *NATS) QueueSettings() any {
	return struct {
		MaxBytes              int64
		Replicas              int
		CredentialsFile, User string
		Password, Token       secret.Text
		TLS                   natsqueue.TLS
	}{n.config.MaxBytes, n.config.Replicas, n.config.CredentialsFile, n.config.User, n.config.Password, n.config.Token, n.config.TLS}
}

// OpenQueue implements [queueapi.Module].
func (n *NATS) OpenQueue(host queueapi.Host) (queueapi.Queue, error) {
	config := n.config
	config.Logger = host.Logger
	return natsqueue.Open(config)
}

// ConfigureQueue implements [queueapi.Module].
func (n *NATS) ConfigureQueue(queue webhookqueue.Queue) error {
	q, ok := queue.(*natsqueue.Queue)
	if !ok {
		return errors.New("the open queue is another's")
	}
	return q.Configure(n.config)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*NATS)(nil)
	_ caddyfile.Unmarshaler = (*NATS)(nil)
	_ queueapi.Module       = (*NATS)(nil)
)
