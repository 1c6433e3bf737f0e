package install

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/installlink"
	"github.com/caddy-hubspot/caddy-hubspot/internal/oauthstate"
)

// refusal is a reason why an install does not go on, in words for the person
// who stands before it.
type refusal struct {
	// outcome is its name in the log and in context.reason of the JSON.
	outcome string
	// reason is the word for the address to return to, which is part of the
	// contract with the application; with none the browser is not sent there
	// by itself.
	reason string
	kind   apierror.SubCategory
	// status is that of kind if it is 0.
	status int
	title  string
	text   string
	// final means that beginning again does not help.
	final bool
}

// startOver is what helps against a link that cannot be used.
const startOver = "Go back to the application and press its Connect to HubSpot button again."

// storeDenied is said where the store answers, and says no.
const storeDenied = "The store in which connections are kept does not permit this site to store it. An operator of this site has to look at its policy. Nothing has been connected."

// The reasons.
var (
	refusedNoState = refusal{
		outcome: "no_state", kind: apierror.BadRequest,
		title: "Please start from the application",
		text:  "HubSpot sent you here without the mark that this site puts on every install, so it is not known whom to connect. Nothing has been connected. " + startOver,
	}
	refusedEmpty = refusal{
		outcome: "incomplete", reason: "bad_code", kind: apierror.BadRequest,
		title: "Please start from the application",
		text:  "This is the address to which HubSpot sends people back, and what HubSpot would have added to it is missing. " + startOver,
	}
	refusedQuery = refusal{
		outcome: "bad_query", kind: apierror.BadRequest,
		title: "This address is not complete",
		text:  "Its query is damaged or holds something twice. " + startOver,
	}
	refusedMalformed = refusal{
		outcome: "state_malformed", kind: apierror.BadRequest,
		title: "This link is not valid",
		text:  "Its state is none that this site has made, or it was cut off or changed on the way. " + startOver,
	}
	refusedExpired = refusal{
		outcome: "state_expired", reason: "expired", kind: apierror.BadRequest,
		title: "This link has expired",
		text:  "Connecting has to be finished within ten minutes. " + startOver,
	}
	refusedWrongApp = refusal{
		outcome: "state_wrong_app", kind: apierror.BadRequest,
		title: "This link belongs to another app",
		text:  "Its state was made for another HubSpot app than the one that this address belongs to. " + startOver,
	}
	refusedWrongBrowser = refusal{
		outcome: "state_wrong_browser", reason: "other_browser", kind: apierror.BadRequest,
		title: "This install was started in another browser",
		text:  "It has to be finished in the browser, and under the name of this site, with which it was started. Finish it there, or start again here. If cookies are blocked, allow them for this site.",
	}
	refusedUsed = refusal{
		outcome: "state_used", reason: "used", kind: apierror.BadRequest,
		title: "This link has been used already",
		text:  "Each link connects once. If HubSpot is connected, there is nothing left to do; otherwise start again from the application.",
	}
	refusedCode = refusal{
		outcome: "bad_code", reason: "bad_code", kind: apierror.BadRequest,
		title: "HubSpot no longer accepts this install",
		text:  "The code that HubSpot gave is used, expired, or belongs to another request. " + startOver,
	}
	refusedDenied = refusal{
		outcome: "denied", reason: "denied", kind: apierror.BadRequest,
		title: "HubSpot did not connect the app",
		text:  "Nothing has been connected. If this was not intended, go back to the application and try again, with a HubSpot user who may install apps.",
	}
	refusedPortal = refusal{
		outcome: "portal_change", reason: "portal_change", kind: "portal_change", status: http.StatusConflict,
		title: "This is another HubSpot account",
		text:  "The connection belongs to another HubSpot account than the one you chose, and it was left as it is. Start again and choose the account that is connected, or ask for a link that allows changing accounts.",
	}
	refusedApp = refusal{
		outcome: "app_misconfigured", reason: "app_misconfigured", kind: apierror.AppMisconfigured, final: true,
		title: "This app is not set up correctly",
		text:  "HubSpot does not accept the app's own settings. Nothing has been connected. Trying again will not help until an operator of this site has looked at the app's client id, client secret and redirect address.",
	}
	refusedUnreachable = refusal{
		outcome: "hubspot_unreachable", reason: "hubspot_unavailable", kind: apierror.UpstreamUnreachable,
		title: "HubSpot cannot be reached",
		text:  "HubSpot did not answer as it should, so nothing has been connected. Wait a moment, go back to the application and try again.",
	}
	refusedAccount = refusal{
		outcome: "hubspot_refused", reason: "hubspot_unavailable", kind: apierror.UpstreamUnreachable,
		title: "HubSpot does not connect this account",
		text:  "HubSpot refused it in the words below, so nothing has been connected. Wait a moment, go back to the application and try again. If it stays so, an operator of this site has to look at what HubSpot says.",
	}
	refusedInBetween = refusal{
		outcome: "in_between", reason: "hubspot_unavailable", kind: apierror.UpstreamUnreachable,
		title: "HubSpot cannot be reached",
		text:  "Something between this site and HubSpot answered in its place, an egress proxy or HubSpot's edge, so nothing has been connected. Wait a moment, go back to the application and try again. If it stays so, an operator of this site has to look at what is in between.",
	}
	refusedTimeout = refusal{
		outcome: "hubspot_timeout", reason: "hubspot_unavailable", kind: apierror.UpstreamTimeout,
		title: "HubSpot did not answer in time",
		text:  "Nothing has been connected. Wait a moment, go back to the application and try again.",
	}
	refusedStore = refusal{
		outcome: "store_unavailable", reason: "store_unavailable", kind: apierror.StoreUnavailable,
		title: "The connection cannot be stored at the moment",
		text:  "The store in which connections are kept does not answer, so nothing has been connected. Wait a moment, go back to the application and try again.",
	}
	refusedRate = refusal{
		outcome: "rate_limited", kind: apierror.RateLimited,
		title: "Too many requests",
		text:  "There were too many requests from your address. Wait a moment and try again.",
	}
	refusedMethod = refusal{
		outcome: "bad_method", kind: apierror.BadRequest, status: http.StatusMethodNotAllowed,
		title: "This address is for browsers",
		text:  "It answers GET requests only.",
	}
	refusedBody = refusal{
		outcome: "body_refused", kind: apierror.BadRequest, status: http.StatusRequestEntityTooLarge,
		title: "This address takes no content",
		text:  "The request has a body, which is not read here. Send it without.",
	}
	refusedQuerySize = refusal{
		outcome: "query_too_long", kind: apierror.BadRequest, status: http.StatusRequestURITooLong,
		title: "This address is too long",
		text:  "Its query is longer than what is read here. " + startOver,
	}
	refusedHeaderSize = refusal{
		outcome: "header_too_large", kind: apierror.BadRequest, status: http.StatusRequestHeaderFieldsTooLarge,
		title: "The request is too large",
		text:  "Its headers are larger than what is read here. Deleting the cookies of this site may help.",
	}
	refusedSession = refusal{
		outcome: "no_session", kind: apierror.UserRequired,
		title: "Please sign in first",
		text:  "It is not known who you are. Sign in to the application in this browser, then press its Connect to HubSpot button.",
	}
	refusedUser = refusal{
		outcome: "bad_user", kind: apierror.BadRequest,
		title: "You cannot be connected",
		text:  "Your session gives a user identifier that cannot be used. An operator of this site has to look at the setting user of hubspot_auth.",
	}
	refusedDisabled = refusal{
		outcome: "not_enabled", kind: apierror.BadRequest, status: http.StatusNotFound,
		title: "Connecting from the browser is not enabled here",
		text:  "Start from the application. Operators: it is enabled by the setting user of hubspot_auth.",
	}
	refusedNoLinks = refusal{
		outcome: "no_install_links", kind: apierror.BadRequest, status: http.StatusNotFound,
		title: "This app cannot be connected here",
		text:  "It has no redirect_uri in the sidecar's configuration, and so no install links.",
	}
	refusedStatic = refusal{
		outcome: "static_app", kind: apierror.BadRequest, status: http.StatusNotFound,
		title: "This app is not connected in this way",
		text:  "It is a static app: its token comes from HubSpot's own pages, and an operator of this site puts it in with caddy hubspot import.",
	}
	refusedFrozen = refusal{
		outcome: "frozen", kind: apierror.Frozen, final: true,
		title: "Connecting is stopped at the moment",
		text:  "An operator of this site has frozen it. Nothing has been connected, and what was connected before is still there. Trying again does not help before it is allowed again.",
	}
	refusedReturnTo = refusal{
		outcome: "bad_return_to", kind: apierror.BadRequest,
		title: "The address to return to is not allowed",
	}
	refusedMisdirected = refusal{
		outcome: "misdirected", reason: "app_misconfigured", kind: apierror.BadRequest, status: http.StatusNotFound, final: true,
		title: "This site is not set up correctly",
		text:  "The address that you were sent to lost its beginning on the way here. Nothing has been connected. Operators: the proxy in front of this site has to pass whole paths, that of the app's redirect_uri among them.",
	}
	refusedPrograms = refusal{
		outcome: "not_for_browsers", kind: apierror.CallerForbidden,
		title: "This address is for programs",
		text:  "It answers the application's own servers, which have a key. To connect to HubSpot, go back to the application and press its Connect to HubSpot button.",
	}
	refusedReturnURL = refusal{
		outcome: "bad_return_url", kind: apierror.BadRequest,
		title: "The address to return to is not HubSpot's",
		text:  "Browsers are sent on to HubSpot only. Start the install from HubSpot's marketplace again.",
	}
)

// failure is a refusal of one request.
type failure struct {
	refusal
	// problem is what a program is told. Its cause is for the log only.
	problem *apierror.Error
	// quote is a text of somebody else's.
	quote string
}

// because makes an error of a refusal. The cause may be nil.
func (f refusal) because(cause error) *failure {
	e := apierror.Wrap(f.kind, f.title+". "+f.text, cause)
	if f.status != 0 {
		e.Status = f.status
		e.ProxyError = "http_request_denied"
	}
	e.Context = map[string][]string{"reason": {f.outcome}}
	return &failure{refusal: f, problem: e}
}

// saying replaces the text.
func (f refusal) saying(text string) refusal {
	f.text = text
	return f
}

// Error returns the text for the log.
func (f *failure) Error() string { return f.problem.Error() }

// Unwrap returns the [*apierror.Error].
func (f *failure) Unwrap() error { return f.problem }

// says quotes HubSpot, or whoever made the link: a word, and a text or none.
func (f *failure) says(word, text string) {
	f.quote = word
	f.problem.Context["error"] = []string{word}
	if text = quotable(text); text != "" {
		f.quote = text + " (" + word + ")"
		f.problem.Context["error_description"] = []string{text}
	}
}

// word says in a word what happened.
func (f *failure) word() string { return cmp.Or(f.reason, f.outcome) }

// reply makes the answer.
func (f *failure) reply() *reply {
	return &reply{
		outcome: f.outcome,
		status:  f.problem.Status,
		page:    page{Title: f.title, Text: []string{f.text}, Quote: f.quote},
		problem: f.problem,
	}
}

// failureOf returns the failure that err is. All errors of an install are
// failures; another one would be a bug, and not the person's.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return refusedApp.because(err)
}

// unusableState words an error of opening a state.
func unusableState(err error) error {
	switch {
	case errors.Is(err, oauthstate.ErrExpired):
		return refusedExpired.because(nil)
	case errors.Is(err, oauthstate.ErrWrongApp):
		return refusedWrongApp.because(nil)
	}
	return refusedMalformed.because(nil)
}

// StartError is the answer to a caller about an error of making an install
// link for app.
func StartError(app *hubapp.App, err error) *apierror.Error {
	problem := cannotStart(err).problem
	problem.Context["app"] = []string{app.Name}
	return problem
}

// cannotStart words an error of making an install link.
func cannotStart(err error) *failure {
	switch {
	case admission.IsFrozen(err):
		return refusedFrozen.because(err)
	case errors.Is(err, hubspot.ErrNoCredentials):
		return refusedStatic.because(err)
	case errors.Is(err, installlink.ErrNoLinks):
		return refusedNoLinks.because(err)
	case errors.Is(err, installlink.ErrUnsealable):
		return refusedReturnTo.saying("It is too long, together with your user identifier.").because(err)
	case errors.Is(err, connection.ErrGrantEnded):
		return refusedCode.saying("Another user of the same HubSpot account was being disconnected in the same moment, which ended what HubSpot had given. " + startOver).because(err)
	case errors.Is(err, connection.ErrDenied):
		return refusedStore.saying(storeDenied).because(err)
	case errors.Is(err, connection.ErrUnavailable), errors.Is(err, freeze.ErrUnknown),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refusedStore.because(err)
	}
	return refusedApp.because(err)
}

// cannotExchange words an error of redeeming the code at HubSpot.
func cannotExchange(err error) error {
	te, ok := errors.AsType[*hubspot.TokenError](err)
	if !ok {
		return cannotStart(err)
	}
	f := exchangeRefusal(te).because(err)
	f.problem.RetryAfter = te.RetryAfter
	if te.Class == hubspot.ClassConnection {
		f.says(te.Reason(), te.Message)
	}
	return f
}

func exchangeRefusal(te *hubspot.TokenError) refusal {
	switch te.Class {
	case hubspot.ClassBadCode, hubspot.ClassDeadGrant:
		return refusedCode
	case hubspot.ClassMisconfigured:
		return refusedApp
	case hubspot.ClassConnection:
		return refusedAccount
	}
	if te.InBetween {
		return refusedInBetween
	}
	if timeout, ok := errors.AsType[net.Error](te); ok && timeout.Timeout() {
		return refusedTimeout
	}
	return refusedUnreachable
}

// otherPerson is said of an install of a user-level app.
const otherPerson = "The connection belongs to another person of this HubSpot account than the one who is signed in there, and it was left as it is. Start again as the person who is connected, or ask for a link that allows changing accounts."

// cannotStore words an error of storing the connection.
func cannotStore(err error) error {
	switch {
	case errors.Is(err, connection.ErrStateUsed):
		return refusedUsed.because(err)
	case errors.Is(err, connection.ErrPersonChange):
		r := refusedPortal.saying(otherPerson)
		r.title = "This is another person of the HubSpot account"
		return r.because(err)
	case errors.Is(err, connection.ErrPortalChange):
		return refusedPortal.because(err)
	case errors.Is(err, connection.ErrDenied):
		return refusedStore.saying(storeDenied).because(err)
	case errors.Is(err, connection.ErrCorrupt):
		return refusedStore.saying("What is stored of this connection is damaged. An operator of this site has to look at it.").because(err)
	}
	return refusedStore.because(err)
}
