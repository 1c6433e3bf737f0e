package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// maxOrder bounds the body of a request to freeze or to lift.
const maxOrder = 16 << 10

// freezes serves /hubspot/freezes.
func freezes(ctx context.Context, r *http.Request) (int, any, error) {
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return http.StatusOK, frozen(s), nil
	case http.MethodPost, http.MethodDelete:
	default:
		return 0, nil, failure(http.StatusMethodNotAllowed, "method %s is not allowed here; use GET, POST or DELETE", r.Method)
	}
	order, err := readOrder(r)
	if err != nil {
		return 0, nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	if r.Method == http.MethodPost {
		err = add(ctx, s, order)
	} else {
		err = lift(ctx, s, order)
	}
	if errors.Is(err, freeze.ErrNoSuchFreeze) {
		// Not as an error, which Caddy would log: the list names users.
		list := frozen(s)
		list.Error = "there is no freeze of exactly that; there are those of freezes"
		return http.StatusNotFound, list, nil
	}
	if err != nil {
		return 0, nil, freezeError(err)
	}
	return http.StatusOK, frozen(s), nil
}

// frozen is what is frozen now.
func frozen(s *sidecar.Sidecar) adminapi.FreezeList {
	r := s.Freezes().Report()
	list := adminapi.FreezeList{Freezes: r.Freezes, ReadAt: r.ReadAt}
	if list.Freezes == nil {
		list.Freezes = []freeze.Freeze{} // [] rather than null
	}
	if r.Problem != nil {
		list.Problem = r.Problem.Error()
	}
	return list
}

// readOrder reads a body strictly: a misspelt part would freeze, or lift, more
// than was meant. JSON is asked for because a web page cannot send it to
// another site unasked.
func readOrder(r *http.Request) (order adminapi.FreezeOrder, err error) {
	if r.URL.RawQuery != "" {
		return order, errors.New("say in the body what is meant, not in the query")
	}
	fields, err := strictbody.Read(r, strictbody.Options{What: "the body", Limit: maxOrder, JSONOnly: true})
	if broken, ok := errors.AsType[*strictbody.BrokenError](err); ok {
		return order, fmt.Errorf("reading the body: %w", broken)
	}
	if err != nil {
		return order, err
	}
	targets := map[string]any{
		"app": &order.App, "user": &order.User, "caller": &order.Caller, "writes": &order.Writes,
		"all": &order.All, "reason": &order.Reason, "by": &order.By,
	}
	for _, f := range fields {
		if string(f.JSON) == `""` {
			return order, fmt.Errorf("%s is empty; leave it out to mean any", apierror.Quoted(f.Name))
		}
		if target, ok := targets[f.Name]; !ok || json.Unmarshal(f.JSON, target) != nil {
			return order, errors.New("the body has app, user, caller, reason and by as texts, writes and all as true or false, and nothing else")
		}
	}
	return order, nil
}

// add checks an order and puts it on the store's list.
func add(ctx context.Context, s *sidecar.Sidecar, order adminapi.FreezeOrder) error {
	if err := checkOrder(order); err != nil {
		return err
	}
	if order.App != "" {
		app, ok := s.App(order.App)
		if !ok {
			return invalidFreeze("there is no app %q; there are: %s", order.App, nameList(appNames(s)))
		}
		order.App = app.Name
	}
	if order.Caller != "" {
		name, ok := callerNamed(s, order.Caller)
		if !ok {
			return invalidFreeze("there is no caller %q; there are: %s", order.Caller, nameList(slices.Sorted(maps.Keys(s.Callers))))
		}
		order.Caller = name
	}
	if order.User != "" {
		if err := userid.Check(order.User); err != nil {
			return invalidFreeze("%w", err)
		}
	}
	return s.Freezes().Freeze(ctx, freeze.Freeze{
		Selector: order.Selector, Reason: order.Reason, By: order.By, Since: time.Now().UTC().Truncate(time.Second),
	})
}

// lift takes an order off the list: what was frozen by exactly that, or
// everything. Names are not checked: they may have left the configuration.
func lift(ctx context.Context, s *sidecar.Sidecar, order adminapi.FreezeOrder) error {
	if err := checkOrder(order); err != nil {
		return err
	}
	if order.All && !order.Writes {
		return s.Freezes().UnfreezeAll(ctx)
	}
	return s.Freezes().Unfreeze(ctx, order.Selector)
}

// checkOrder refuses an order whose selector and all do not say the same.
func checkOrder(o adminapi.FreezeOrder) error {
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
func callerNamed(s *sidecar.Sidecar, name string) (string, bool) {
	for configured := range s.Callers {
		if strings.EqualFold(configured, name) {
			return configured, true
		}
	}
	return "", false
}

func appNames(s *sidecar.Sidecar) []string {
	names := make([]string, 0, len(s.Apps()))
	for _, app := range s.Apps() {
		names = append(names, app.Name)
	}
	return names
}

func nameList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
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
