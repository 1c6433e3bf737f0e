package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookdelivery"
)

// What is used if nothing else is said.
const (
	defaultTimeout  = 10 * time.Second
	defaultAttempts = 20
	maxTimeout      = 10 * time.Minute
)

// Deliver says where a queue's webhooks go, and how.
type Deliver struct {
	// The address of the app behind, to which events are posted. Redirects are
	// not followed. Placeholders are expanded when the config is loaded.
	// Required.
	URL string `json:"url,omitempty"`

	// What goes into one request: `none` is what HubSpot has sent in one,
	// `portal` the events of one account, `event` one event.
	// Default: `none`; with an order, `portal`.
	Split string `json:"split,omitempty"`

	// What is delivered in the order in which it came, and the next only when
	// the one before has arrived or is a dead letter: `none` is nothing,
	// `portal` what is of one account, `object` what is of one contact,
	// company and so on; that is finer than accounts only where events are
	// split. Default: `none`.
	Order string `json:"order,omitempty"`

	// How long one attempt may take, ten minutes at most. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many attempts there are before a webhook is a dead letter. Between
	// them is a second, then two, and so on up to a minute. Default: 20.
	Attempts int `json:"attempts,omitempty"`
}

// ways are the values of split and order.
var (
	splits = map[string]webhook.By{"": webhook.ByNone, "none": webhook.ByNone, "portal": webhook.ByPortal, "event": webhook.ByEvent}
	orders = map[string]webhook.By{"": webhook.ByNone, "none": webhook.ByNone, "portal": webhook.ByPortal, "object": webhook.ByObject}
)

func checkSplit(value string) error {
	if _, ok := splits[value]; !ok {
		return fmt.Errorf("split: %q is none of none, portal and event", value)
	}
	return nil
}

func checkOrder(value string) error {
	if _, ok := orders[value]; !ok {
		return fmt.Errorf("order: %q is none of none, portal and object", value)
	}
	return nil
}

// checkURL refuses what nothing can be delivered to.
func checkURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("give the address of the app behind, as in http://localhost:3000/hubspot-events")
	case u.User != nil:
		return errors.New("the address must not have a user or password in it; the app behind can tell deliveries by where they come from")
	case u.Fragment != "":
		return errors.New("the address must not have a #fragment")
	}
	return nil
}

func (d *Deliver) checkNumbers() error {
	switch {
	case d.Timeout < 0 || time.Duration(d.Timeout) > maxTimeout:
		return fmt.Errorf("timeout: %v is not between 0 and 10m", time.Duration(d.Timeout))
	case d.Attempts < 0:
		return fmt.Errorf("attempts: %d is not a number above zero", d.Attempts)
	}
	return nil
}

// expand checks the settings and fills in the defaults.
func (d *Deliver) expand(app string) (s webhookdelivery.Settings, by webhook.Splitter, err error) {
	if d.URL == "" {
		return s, by, errors.New("url: " + checkURL("").Error())
	}
	if err := errors.Join(checkSplit(d.Split), checkOrder(d.Order), d.checkNumbers()); err != nil {
		return s, by, err
	}
	address, err := settings.Expand(d.URL)
	if err != nil {
		return s, by, fmt.Errorf("url: %w", err)
	}
	if err := checkURL(address); err != nil {
		return s, by, fmt.Errorf("url: %w", err)
	}
	s = webhookdelivery.Settings{URL: address, Timeout: time.Duration(d.Timeout), Attempts: d.Attempts}
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
	}
	if s.Attempts == 0 {
		s.Attempts = defaultAttempts
	}
	return s, webhook.Splitter{App: app, Split: splits[d.Split], Order: orders[d.Order]}, nil
}
