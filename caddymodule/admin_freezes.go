package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
)

// maxFreezeOrder bounds the body of a request to freeze or to lift.
const maxFreezeOrder = 16 << 10

// freezeOrder is the body of a request to freeze or to lift. It is a body for
// both: Caddy logs the addresses of requests, and users must not be in logs.
type freezeOrder struct {
	freeze.Selector
	// All says that nothing narrows the selector on purpose.
	All    bool   `json:"all,omitempty"`
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

// freezeList is the answer of /hubspot/freezes.
type freezeList struct {
	// Error says why nothing was done.
	Error   string          `json:"error,omitempty"`
	Freezes []freeze.Freeze `json:"freezes"`
	// ReadAt is when the store last confirmed the list.
	ReadAt time.Time `json:"readAt,omitzero"`
	// Problem says why this sidecar cannot follow the list.
	Problem string `json:"problem,omitempty"`
}

// freezeStatus is what /hubspot/status says of freezes: no user.
type freezeStatus struct {
	Count   int       `json:"count"`
	Known   bool      `json:"known"`
	ReadAt  time.Time `json:"readAt,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

func (a *App) freezeStatus() freezeStatus {
	r := a.freezes.Report()
	return freezeStatus{Count: len(r.Freezes), Known: r.Known, ReadAt: r.ReadAt, Problem: problemText(r.Problem)}
}

func (a *App) freezeList() freezeList {
	r := a.freezes.Report()
	list := freezeList{Freezes: r.Freezes, ReadAt: r.ReadAt, Problem: problemText(r.Problem)}
	if list.Freezes == nil {
		list.Freezes = []freeze.Freeze{}
	}
	return list
}

func problemText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// freezes serves /hubspot/freezes.
func (a *adminAPI) freezes(ctx context.Context, r *http.Request) (int, any, error) {
	app, err := activeApp()
	if err != nil {
		return 0, nil, err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return http.StatusOK, app.freezeList(), nil
	case http.MethodPost, http.MethodDelete:
	default:
		return 0, nil, adminError(http.StatusMethodNotAllowed, "method %s is not allowed here; use GET, POST or DELETE", r.Method)
	}
	order, err := readFreezeOrder(r)
	if err != nil {
		return 0, nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	if r.Method == http.MethodPost {
		err = app.freeze(ctx, order)
	} else {
		err = app.unfreeze(ctx, order)
	}
	if errors.Is(err, freeze.ErrNoSuchFreeze) {
		// Not as an error, which Caddy would log: the list names users.
		list := app.freezeList()
		list.Error = "there is no freeze of exactly that; there are those of freezes"
		return http.StatusNotFound, list, nil
	}
	if err != nil {
		return 0, nil, freezeError(err)
	}
	return http.StatusOK, app.freezeList(), nil
}

// readFreezeOrder reads a body strictly: a misspelt part would freeze, or
// lift, more than was meant. JSON is asked for because a web page cannot send
// it to another site unasked.
func readFreezeOrder(r *http.Request) (freezeOrder, error) {
	var order freezeOrder
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return order, errors.New("the Content-Type must be application/json")
	}
	if r.URL.RawQuery != "" {
		return order, errors.New("say in the body what is meant, not in the query")
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxFreezeOrder+1))
	if err != nil {
		return order, fmt.Errorf("reading the body: %w", err)
	}
	if len(data) > maxFreezeOrder {
		return order, fmt.Errorf("the body is larger than %d KiB", maxFreezeOrder>>10)
	}
	members, err := jsonObject(data)
	if err != nil {
		return order, fmt.Errorf("the body %w", err)
	}
	for _, m := range members {
		if string(m.value) == `""` {
			return order, fmt.Errorf("%s is empty; leave it out to mean any", quoted(m.name))
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&order); err != nil {
		return order, errors.New("the body has app, user, caller, reason and by as texts, writes and all as true or false, and nothing else")
	}
	return order, nil
}

// freeze checks an order and puts it on the store's list.
func (a *App) freeze(ctx context.Context, order freezeOrder) error {
	if err := order.check(); err != nil {
		return err
	}
	if order.App != "" {
		hub, ok := a.app(order.App)
		if !ok {
			return invalidFreeze("there is no app %q; there are: %s", order.App, nameList(maps.Keys(a.hubApps)))
		}
		order.App = hub.name
	}
	if order.Caller != "" {
		name, ok := a.callerNamed(order.Caller)
		if !ok {
			return invalidFreeze("there is no caller %q; there are: %s", order.Caller, nameList(maps.Keys(a.Callers)))
		}
		order.Caller = name
	}
	if order.User != "" {
		if err := checkUser(order.User); err != nil {
			return invalidFreeze("%w", err)
		}
	}
	return a.freezes.Freeze(ctx, freeze.Freeze{
		Selector: order.Selector, Reason: order.Reason, By: order.By, Since: time.Now().UTC().Truncate(time.Second),
	})
}

// unfreeze takes an order off the list: what was frozen by exactly that, or
// everything. Names are not checked: they may have left the configuration.
func (a *App) unfreeze(ctx context.Context, order freezeOrder) error {
	if err := order.check(); err != nil {
		return err
	}
	if order.All && !order.Writes {
		return a.freezes.UnfreezeAll(ctx)
	}
	return a.freezes.Unfreeze(ctx, order.Selector)
}

// check refuses an order whose selector and all do not say the same.
func (o freezeOrder) check() error {
	switch {
	case o.All && !o.IsEverything():
		return invalidFreeze("all goes with no app, user or caller")
	case !o.All && o.IsEverything():
		return invalidFreeze("name an app, a user or a caller (--app, --user, --caller), or say that everything is meant (--all)")
	}
	return nil
}

func invalidFreeze(format string, args ...any) error {
	return fmt.Errorf("%w: %w", freeze.ErrInvalid, fmt.Errorf(format, args...))
}

// callerNamed returns a configured caller's name as it is written.
func (a *App) callerNamed(name string) (string, bool) {
	for configured := range a.Callers {
		if strings.EqualFold(configured, name) {
			return configured, true
		}
	}
	return "", false
}

func nameList(names func(yield func(string) bool)) string {
	sorted := slices.Sorted(names)
	if len(sorted) == 0 {
		return "none"
	}
	return strings.Join(sorted, ", ")
}

// freezeError gives an error of the list its status.
func freezeError(err error) error {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, freeze.ErrInvalid):
		status = http.StatusBadRequest
	case errors.Is(err, freeze.ErrNotKept):
		status = http.StatusNotImplemented
	case errors.Is(err, connection.ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, connection.ErrUnavailable), errors.Is(err, connection.ErrDenied), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
	case errors.Is(err, connection.ErrCorrupt):
		err = fmt.Errorf("%w; unfreeze --all replaces it by an empty list", err)
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}
