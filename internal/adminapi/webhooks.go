package adminapi

import "time"

// Paths of the endpoints for webhooks.
const (
	Webhooks      = "/hubspot/webhooks"
	WebhooksRetry = Webhooks + "/retry"
	WebhooksDrop  = Webhooks + "/drop"
)

// Most entries that [Webhooks] lists.
const (
	DefaultWebhooks = 1000
	MaxWebhooks     = 100_000
)

// States of a webhook.
const (
	WebhookWaiting = "waiting"
	WebhookDead    = "dead"
)

// Webhook is an entry of the answer of [Webhooks], which is a list of them: a
// delivery that waits, or a dead letter. It holds nothing of what HubSpot has sent.
type Webhook struct {
	ID  string `json:"id"`
	App string `json:"app"`
	// Portal is 0 where the events are several portals'.
	Portal   int64 `json:"portal"`
	Attempts int   `json:"attempts"`
	// FirstAt is when HubSpot has sent it, LastAt when it was last tried; nil if
	// it was not.
	FirstAt time.Time  `json:"firstAt"`
	LastAt  *time.Time `json:"lastAt"`
	// LastStatus is what the app behind answered last; 0 if it did not.
	LastStatus int    `json:"lastStatus"`
	Events     int    `json:"events"`
	State      string `json:"state"`
}

// WebhookOrder is the body of a request to [WebhooksRetry] or [WebhooksDrop]: one
// dead letter, or, to retry, all of them.
type WebhookOrder struct {
	ID  string `json:"id,omitempty"`
	All bool   `json:"all,omitempty"`
}

// WebhookResult is the answer to that.
type WebhookResult struct {
	// Retried and Dropped count dead letters.
	Retried int `json:"retried"`
	Dropped int `json:"dropped"`
}
