package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// webhooks serves /hubspot/webhooks and what is below it.
func webhooks(ctx context.Context, r *http.Request) (int, any, error) {
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	queues := s.Queues().All()
	switch r.URL.Path {
	case adminapi.Webhooks:
		if err := wantMethod(r, http.MethodGet); err != nil {
			return 0, nil, err
		}
		return listWebhooks(ctx, r, queues)
	case adminapi.WebhooksRetry, adminapi.WebhooksDrop:
		if err := wantMethod(r, http.MethodPost); err != nil {
			return 0, nil, err
		}
		return orderWebhooks(ctx, r, queues)
	}
	return 0, nil, failure(http.StatusNotFound, "there is no endpoint %q", r.URL.Path)
}

// listWebhooks lists dead letters, and then what waits; ?state= one of both.
func listWebhooks(ctx context.Context, r *http.Request, queues []webhookqueue.Queue) (int, any, error) {
	states := []string{adminapi.WebhookDead, adminapi.WebhookWaiting}
	switch state := r.URL.Query().Get("state"); state {
	case "":
	case adminapi.WebhookDead, adminapi.WebhookWaiting:
		states = []string{state}
	default:
		return 0, nil, failure(http.StatusBadRequest, "state %q is neither waiting nor dead", state)
	}
	limit := adminapi.DefaultWebhooks
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > adminapi.MaxWebhooks {
			return 0, nil, failure(http.StatusBadRequest, "limit %q is not a number from 1 to %d", text, adminapi.MaxWebhooks)
		}
		limit = n
	}
	list := []adminapi.Webhook{}
	for _, state := range states {
		for _, q := range queues {
			entries, err := q.List(ctx, state == adminapi.WebhookDead, "", limit-len(list))
			if err != nil {
				return 0, nil, queueError(err)
			}
			for _, e := range entries {
				list = append(list, shown(e, state))
			}
		}
	}
	return http.StatusOK, list, nil
}

func shown(e webhookqueue.Entry, state string) adminapi.Webhook {
	w := adminapi.Webhook{
		ID: e.ID, App: e.App, Portal: e.Portal, Attempts: e.Attempts, FirstAt: e.ReceivedAt,
		LastStatus: e.LastStatus, Events: e.Events, State: state,
	}
	if !e.LastAt.IsZero() {
		w.LastAt = &e.LastAt
	}
	return w
}

// orderWebhooks retries or drops dead letters.
func orderWebhooks(ctx context.Context, r *http.Request, queues []webhookqueue.Queue) (int, any, error) {
	order, err := readWebhookOrder(r)
	if err != nil {
		return 0, nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	act, counted := webhookqueue.Queue.Retry, func(r *adminapi.WebhookResult) *int { return &r.Retried }
	if r.URL.Path == adminapi.WebhooksDrop {
		if order.All {
			return 0, nil, failure(http.StatusBadRequest, "what is dropped is lost: name one dead letter by its id")
		}
		act, counted = webhookqueue.Queue.Drop, func(r *adminapi.WebhookResult) *int { return &r.Dropped }
	}
	var result adminapi.WebhookResult
	for _, q := range queues {
		ids, err := deadLetters(ctx, q, order)
		if err != nil {
			return 0, nil, queueError(err)
		}
		for _, id := range ids {
			switch err := act(q, ctx, id); {
			case err == nil:
				*counted(&result)++
			case !errors.Is(err, webhookqueue.ErrNotFound):
				return 0, nil, queueError(err)
			}
		}
	}
	if !order.All && *counted(&result) == 0 {
		return 0, nil, failure(http.StatusNotFound, "there is no dead letter %q", order.ID)
	}
	return http.StatusOK, result, nil
}

// deadLetters are the IDs that an order speaks of. All of them are those that there
// are now: what fails again meanwhile is not tried a second time.
func deadLetters(ctx context.Context, q webhookqueue.Queue, order adminapi.WebhookOrder) ([]string, error) {
	if !order.All {
		return []string{order.ID}, nil
	}
	var ids []string
	for after := ""; ; after = ids[len(ids)-1] {
		entries, err := q.List(ctx, true, after, adminapi.DefaultWebhooks)
		if err != nil || len(entries) == 0 {
			return ids, err
		}
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
	}
}

// readWebhookOrder reads a body as readOrder does.
func readWebhookOrder(r *http.Request) (order adminapi.WebhookOrder, err error) {
	fields, err := strictbody.Read(r, strictbody.Options{What: "the body", Limit: maxOrder, JSONOnly: true})
	if broken, ok := errors.AsType[*strictbody.BrokenError](err); ok {
		return order, fmt.Errorf("reading the body: %w", broken)
	}
	if err != nil {
		return order, err
	}
	targets := map[string]any{"id": &order.ID, "all": &order.All}
	for _, f := range fields {
		if target, ok := targets[f.Name]; !ok || json.Unmarshal(f.JSON, target) != nil {
			return order, errors.New("the body has id as a text, or all as true, and nothing else")
		}
	}
	if (order.ID == "") != order.All {
		return order, errors.New(`give either the id of one dead letter or "all": true`)
	}
	return order, nil
}

func queueError(err error) error {
	return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: fmt.Errorf("the queue of webhooks: %w", err)}
}
