// Package callerapi answers what callers ask beside calls to HubSpot: install
// links, connections and their end, and user tokens. Browsers are the business
// of package install.
package callerapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
)

// Config is what an [API] goes by.
type Config struct {
	// Desk is required.
	Desk *admission.Desk
	// Base is the path below which the endpoints are.
	Base install.Base
	// ReturnTo is where a browser may be sent after an install.
	ReturnTo install.ReturnList
	// Pages shows people that an endpoint is not for them. Required.
	Pages *install.Installer
	// Audit is nil without an audit log.
	Audit *audit.Log
	// Logger is required.
	Logger *slog.Logger
}

// API answers callers. Make one with [New]; it is safe for concurrent use.
type API struct {
	config   Config
	logLimit admission.LogLimit
}

// New makes an API.
func New(c Config) *API { return &API{config: c} }

// Handle answers a request if it is for one of the endpoints for callers, and
// reports whether it was.
func (a *API) Handle(w http.ResponseWriter, r *http.Request) bool {
	path := a.config.Base.Find(r.URL)
	if path.Endpoint == install.EndpointNone || path.Endpoint == install.EndpointConnect {
		return false
	}
	q := &request{API: a, r: r, path: path, user: path.User}
	content, err := q.answer(w)
	switch {
	case err != nil:
		q.refuse(w, err)
	default:
		status := http.StatusOK
		if receipt, ok := content.(Receipt); ok {
			status, q.hubID = receipt.StatusCode(), receipt.HubID
		}
		protect(w.Header())
		install.WriteJSON(w, r, status, content)
		q.record(status, nil)
	}
	return true
}

func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// request is one request of a caller, and what is known of it by now.
type request struct {
	*API
	r    *http.Request
	path install.Path
	// caller and app are nil until they are known.
	caller *access.Caller
	app    *hubapp.App
	query  url.Values
	// user is whom the request is about, as it says; empty for none.
	user string
	// tokenID is that of the user token that was made.
	tokenID string
	// hubID is the portal of a connection that was ended.
	hubID int64
}

// answer does what a caller asks for.
func (q *request) answer(w http.ResponseWriter) (content any, err error) {
	if methods := q.methods(); !slices.Contains(methods, q.r.Method) {
		e := apierror.New(apierror.BadRequest, fmt.Sprintf("Use %s here.", strings.Join(methods, ", ")))
		e.Status = http.StatusMethodNotAllowed
		return nil, e
	}
	if q.path.Endpoint == install.EndpointTokens {
		err = install.CheckSize(q.r)
	} else {
		err = install.CheckShape(w, q.r)
	}
	if err == nil {
		err = q.admit()
	}
	if err != nil {
		return nil, err
	}
	switch q.path.Endpoint {
	case install.EndpointTokens:
		return q.issueToken()
	case install.EndpointLink:
		return q.link()
	case install.EndpointList:
		return q.list()
	}
	return q.connection()
}

func (q *request) methods() []string {
	switch q.path.Endpoint {
	case install.EndpointConnection:
		return []string{http.MethodGet, http.MethodHead, http.MethodDelete}
	case install.EndpointTokens:
		return []string{http.MethodPost}
	}
	return []string{http.MethodGet, http.MethodHead}
}

// refuse answers with an error. A browser without a key has come by mistake: it
// gets a page, and no prompt for a password.
func (q *request) refuse(w http.ResponseWriter, err error) {
	var page error
	if q.caller == nil {
		if page = install.ForPrograms(q.r, err); page != nil {
			err = page
		}
	}
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		e = apierror.Wrap("", "Something went wrong in the sidecar.", err)
	}
	q.log(e)
	defer q.record(e.Status, e)
	if page != nil {
		app, _ := q.config.Desk.App(q.path.App)
		q.config.Pages.ServePage(w, q.r, app, page)
		return
	}
	protect(w.Header())
	if e.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", strings.Join(q.methods(), ", "))
	}
	e.ServeHTTP(w, q.r)
}
