// Package queueapi is for the authors of modules that keep webhooks until they
// are delivered: a Caddy module in the namespace hubspot.queues is a [Module]. The
// sidecar's own queues are made with it too. The suite that a queue has to pass is
// internal/webhookqueue/queuetest.
package queueapi

import (
	"log/slog"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// Namespace is where Caddy looks for queues.
const Namespace = "hubspot.queues"

// The types that a [Queue] is made of.
type (
	// Queue keeps messages until they are delivered.
	Queue = webhookqueue.Queue
	// Delivery is a message that was received.
	Delivery = webhookqueue.Delivery
	// Message is what is delivered in one request.
	Message = webhookqueue.Message
	// Event is one of HubSpot's events.
	Event = webhookqueue.Event
	// Key tells events apart.
	Key = webhookqueue.Key
	// Receipt is what came of a Put.
	Receipt = webhookqueue.Receipt
	// Entry is what may be shown of a message.
	Entry = webhookqueue.Entry
	// Stats is what a queue holds.
	Stats = webhookqueue.Stats
)

// What the methods of a [Queue] return, wrapped with what they were doing.
var (
	ErrFull        = webhookqueue.ErrFull
	ErrUnavailable = webhookqueue.ErrUnavailable
	ErrClosed      = webhookqueue.ErrClosed
	ErrNotFound    = webhookqueue.ErrNotFound
)

// Module is a Caddy module in the namespace hubspot.queues. In a Caddyfile it is
// `queue <name> …` within hubspot_webhook, so it is a caddyfile.Unmarshaler too. Its
// Provision touches neither network nor disk, but to read files that placeholders
// name: a config can be checked anywhere.
type Module interface {
	caddy.Module

	// QueueIdentity is what names the messages that the queue has, with
	// placeholders expanded: a path, or the addresses of servers and the name
	// of a stream. Modules of the same identity share one queue, over config
	// reloads too, and within one config everything about them has to be the
	// same. It is hashed as the settings of stores are; see [pool.KeyOf]. It
	// is called after Provision.
	//
	// [pool.KeyOf]: https://pkg.go.dev/github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool#KeyOf
	QueueIdentity() any

	// QueueSettings is everything else that shapes the queue, in the same
	// form. It is called after Provision.
	QueueSettings() any

	// OpenQueue opens the queue when the config starts, once for as long as
	// any config uses it, so the queue must not hold on to the module, its
	// context or its logger. An error is a load error: a config must not fail
	// because a network is away, but may because a disk is not there. The
	// queue is closed when no config uses it any more.
	OpenQueue(host Host) (Queue, error)

	// ConfigureQueue gives a queue that is open the settings of this module,
	// which have changed. One that cannot have them while it is open returns
	// an error that says so.
	ConfigureQueue(queue Queue) error
}

// Host is what a queue may use of Caddy.
type Host struct {
	// Logger is for what operators need to know of the queue. It acts for the
	// newest config that uses the queue. What is in webhooks must not be
	// logged.
	Logger *slog.Logger
}
