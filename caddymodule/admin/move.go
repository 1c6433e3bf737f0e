package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/movestore"
)

// movePage is how many records are moved at once: few enough to be done within
// a request's time on a slow store.
const movePage = 50

// move serves POST /hubspot/move: one page.
func move(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodPost); err != nil {
		return 0, nil, err
	}
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	body, err := jsonBody(r, maxOrder)
	if err != nil {
		return 0, nil, err
	}
	var order adminapi.MoveOrder
	if json.Unmarshal(body, &order) != nil {
		return 0, nil, failure(http.StatusBadRequest, `the body is not JSON such as {"app":"hbdev"}`)
	}
	app, ok := s.App(order.App)
	if !ok {
		return 0, nil, failure(http.StatusNotFound, "there is no app %q", order.App)
	}
	mover := s.Mover()
	if mover == nil {
		return 0, nil, failure(http.StatusConflict, "the running config has no migrate_from: there is nothing to move from")
	}
	pass, err := mover.Move(ctx, app.Name, order.After, movePage)
	if err != nil {
		return 0, nil, moveError(err)
	}
	for _, user := range pass.Disconnected {
		if _, err := app.Manager.Disconnect(ctx, user, connection.DisconnectOptions{}); err != nil && !errors.Is(err, connection.ErrNotConnected) {
			return 0, nil, managerError(err)
		}
	}
	documents, err := s.MoveDocuments(ctx)
	if err != nil {
		return 0, nil, moveError(err)
	}
	return http.StatusOK, adminapi.MoveAnswer{
		Moved: pass.Moved, Left: pass.Left, Waiting: pass.Waiting, Disconnected: len(pass.Disconnected),
		Documents: documents, Next: pass.Next,
	}, nil
}

func moveError(err error) error {
	if errors.Is(err, movestore.ErrSameStore) {
		return caddy.APIError{HTTPStatus: http.StatusConflict, Err: err}
	}
	return managerError(err)
}
