package relay

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/freeze"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// admit finds out who calls, for whom and what for, and whether that is
// permitted. It returns the request for the proxy, or nil if it was answered
// here. The error is an [*apierror.Error], or that of a body that was read.
func (c *Call) admit() (*http.Request, error) {
	r := c.inbound
	if err := cmp.Or(checkMethodName(r.Method), checkBytes(c.sent, r.URL.RawQuery)); err != nil {
		return nil, err
	}
	wrong := c.readTarget()
	if c.asksTokenInfo() {
		return nil, c.answerTokenInfo(wrong)
	}
	var blocked, err error
	if c.target.path != "" {
		blocked = c.checkBlocked()
	}
	c.caller, err = c.authenticate(r)
	// What is blocked is public, and SDKs send their OAuth calls without a key.
	for _, refusal := range [...]error{blocked, err, wrong} {
		if refusal != nil {
			return nil, refusal
		}
	}
	if err := checkUpgrade(r); err != nil {
		return nil, err
	}
	if err := checkOverrides(r.Header); err != nil {
		return nil, err
	}
	if err := c.readPacing(r.Header); err != nil {
		return nil, err
	}
	if app, ok := strings.CutPrefix(c.target.path, rawPrefix); ok {
		return c.admitEnvelope(app)
	}
	if err := c.judge(); err != nil {
		return nil, err
	}
	return c.outgoing(r), nil
}

// authenticate finds the caller of a request: the call's own, or one that shows
// what the call shows elsewhere.
func (c *Call) authenticate(r *http.Request) (*access.Caller, error) {
	relay := c.relay
	_, hasKey := r.Header["Authorization"]
	switch {
	case !relay.Open || hasKey && relay.Desk.HasCallers():
		caller, err := relay.Desk.Authenticate(r)
		if err != nil && !hasKey {
			err = c.explainDeveloperKey(err)
		}
		return caller, err
	case hasKey:
		return nil, apierror.New(apierror.CallerUnauthenticated,
			"A key was given, but no caller is configured. Leave the Authorization header out, or name a caller with this key in the global option hubspot.")
	}
	if caller, err := relay.Desk.Recognize(r); caller != nil || err != nil {
		return caller, err
	}
	if err := admission.CheckOpen(r, relay.ownName); err != nil {
		return nil, err
	}
	return relay.anyone, nil
}

func (r *Relay) ownName(req *http.Request) bool { return r.OwnName != nil && r.OwnName(req) }

// checkUpgrade refuses to switch protocols. Clients offer HTTP/2 in this way
// on every plain connection (RFC 7540, 3.2); that is ignored, as the server
// in front does.
func checkUpgrade(r *http.Request) error {
	if !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return nil
	}
	for _, value := range r.Header["Upgrade"] {
		for protocol := range strings.SplitSeq(value, ",") {
			if protocol = strings.TrimSpace(protocol); protocol != "" && !strings.EqualFold(protocol, "h2c") {
				return apierror.New(apierror.BadRequest, "HubSpot's API has no WebSockets or other protocols to switch to. Send the request without Upgrade.")
			}
		}
	}
	delete(r.Header, "Upgrade")
	return nil
}

// overrides are the headers that have some servers take a request for one with
// another method or path than it has. HubSpot is not known to be among them,
// and what a policy has matched is not left to chance.
var overrides = [...]string{
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
	"X-Original-Uri", "X-Original-Url", "X-Override-Url", "X-Rewrite-Url",
}

// checkOverrides refuses requests that may be taken for others.
func checkOverrides(header http.Header) error {
	for _, name := range overrides {
		if _, ok := header[name]; ok {
			return apierror.Badf("the header %s can make another request of this one; send the method and the path themselves", name)
		}
	}
	return nil
}

// readTarget notes what is asked for, and for which user as far as the path
// or the setting says. With an error the target is noted all the same where
// there is one.
func (c *Call) readTarget() error {
	r := c.inbound
	c.method = r.Method
	if err := checkMethod(r.Method); err != nil {
		return err
	}
	t, err := targetOf(r, c.sent)
	if err != nil {
		return apierror.Bad(err)
	}
	if t, err = c.readAsApp(t); err != nil {
		return err
	}
	user, rest, fromPath, err := t.cutUser()
	if err != nil {
		return apierror.Bad(err)
	}
	c.target = rest.withoutDeveloperKey()
	if fromPath {
		if user == "" {
			return c.userRequired()
		}
		if err := c.named("the path prefix /as/{user}/", user); err != nil {
			return err
		}
		c.prefix = strings.TrimSuffix(t.path, rest.path)
	}
	if user, err = c.relay.User.Find(r); err != nil {
		return apierror.Bad(err)
	}
	return c.named(c.relay.setting, user)
}

// named notes the user that one source names. All that name one have to agree.
func (c *Call) named(source, user string) error {
	switch {
	case user == "" || user == c.user:
	case c.asApp:
		return apierror.Badf("a call as the app (/as-app/ or X-HubSpot-As) is for no user, and %s names one; leave one of the two out", source)
	case c.user != "":
		return apierror.Badf("the request is for two users: %s names one and %s another; let them agree", c.namedBy, source)
	default:
		c.user, c.namedBy = user, source
	}
	return nil
}

func settingText(s userid.Source) string {
	if s.Header != "" {
		return "the header " + headerText(s.Header)
	}
	return "the setting user"
}

// checkMethodName refuses a method that is not a token (RFC 9110, 9.1). HTTP/2
// lets others through.
func checkMethodName(method string) error {
	if httpguts.ValidHeaderFieldName(method) {
		return nil
	}
	return apierror.New(apierror.BadRequest, "The method is not one word, such as GET or POST.")
}

// checkBytes refuses a request target with bytes that would have to be encoded.
// query is that of the target, unless a handler in front has changed it.
func checkBytes(sent, query string) error {
	if isEncoded(sent) && (strings.HasSuffix(sent, query) || isEncoded(query)) {
		return nil
	}
	return apierror.New(apierror.BadRequest, "The request target holds a space or a control character as it is. Percent-encode it.")
}

// isEncoded reports whether a request target has only bytes that a request line
// can have (RFC 9112, 3; RFC 3986, 2). HTTP/2 lets others through all the same,
// and servers behind would end the path at them.
func isEncoded(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// checkMethod refuses the methods that are not for the resource itself, in
// any case: there are servers that do not regard it.
func checkMethod(method string) error {
	switch {
	case strings.EqualFold(method, "CONNECT"):
		return apierror.Bad(errors.New("the sidecar is no forward proxy; ask it for HubSpot's paths"))
	case strings.EqualFold(method, "TRACE"), strings.EqualFold(method, "TRACK"):
		return apierror.New(apierror.EndpointBlocked, method+" would send the access token back, so it is not passed on.")
	}
	return nil
}

// checkBlocked refuses endpoints that no caller may reach, and paths that may
// be theirs.
func (c *Call) checkBlocked() error {
	var err error
	if c.readings, err = access.AppendReadings(c.oneReading[:0], c.target.path); err != nil {
		return apierror.Bad(err)
	}
	blocked, err := access.Judge(c.readings, access.Blocked)
	if err != nil {
		return apierror.Bad(err)
	}
	if blocked {
		return apierror.New(apierror.EndpointBlocked,
			"This endpoint of HubSpot gives out tokens or takes them in. The sidecar keeps the tokens, so it does not pass the request on.")
	}
	if err := c.checkAsApp(); err != nil {
		return err
	}
	c.guard.suspicious = slices.ContainsFunc(c.readings, smellsOfCredentials)
	return nil
}

// judge checks a call whose method and target are known and not blocked.
func (c *Call) judge() error {
	if err := c.judgeUser(); err != nil {
		return err
	}
	if err := c.enforce(c.caller.CheckPath(c.method, c.readings)); err != nil {
		return err
	}
	c.api = c.relay.api
	if regional, ok := c.relay.hublets.of(c.user); ok && !c.asApp {
		c.api = regional
	}
	return c.checkFrozen()
}

// judgeUser checks for whom the call is.
func (c *Call) judgeUser() error {
	if c.asApp {
		return c.judgeAsApp()
	}
	if scope := c.caller.Scope(); scope != nil {
		if err := c.named("the user token", scope.User); err != nil {
			return err
		}
	}
	if c.user == "" {
		return c.userRequired()
	}
	if err := userid.Check(c.user); err != nil {
		return apierror.Bad(err)
	}
	return c.enforce(c.caller.CheckUser(c.relay.App.Name, c.user))
}

// enforce makes an answer of what the caller's policy says, if that is not on
// trial.
func (c *Call) enforce(refusal error) error {
	if refusal == nil {
		return nil
	}
	dryRun, err := c.relay.Desk.Enforce(c.inbound.Context(), c.relay.App, c.caller, c.user, refusal)
	c.dryRun = cmp.Or(c.dryRun, dryRun)
	return err
}

func (c *Call) userRequired() error {
	message := "The request does not say for which user it is. "
	if header := c.relay.User.Header; header != "" {
		message += "Name the user in the header " + headerText(header) + " or with the path prefix /as/{user}/."
	} else {
		message += "The sidecar's setting user gave none for it. Name the user with the path prefix /as/{user}/."
	}
	return apierror.New(apierror.UserRequired, message+asAppHint(c.target))
}

// headerText returns a header's name as the documentation has it.
func headerText(canonical string) string {
	if canonical == headerUser {
		return "X-HubSpot-User"
	}
	return canonical
}

// checkFrozen refuses a call that an operator has frozen. It waits no longer
// than the call may.
func (c *Call) checkFrozen() error {
	if c.relay.Desk.NothingFrozen() {
		return nil
	}
	return c.refuseFrozen(c.mayChange())
}

// refuseFrozen is checkFrozen for a call that may change something, or not.
func (c *Call) refuseFrozen(writes bool) error {
	wait := c.patience(c.inbound.Context())
	defer wait.end()
	err := c.relay.Desk.CheckFrozen(wait, freeze.Call{
		App: c.relay.App.Name, User: c.user, Caller: c.callerName(), Writes: writes,
	})
	return cmp.Or(err, c.checkStandInFrozen(wait))
}

// mayChange reports whether the call is not known to change nothing.
func (c *Call) mayChange() bool { return !c.onlyReads() }

// onlyReads reports whether the call changes nothing, so that it can be sent
// again even if HubSpot may have processed it. A POST whose path has more than
// one reading may: HubSpot chooses which.
func (c *Call) onlyReads() bool {
	if c.method == http.MethodPost && (len(c.readings) != 1 || !hubspot.OnlyReads(c.method, c.readings[0])) {
		return false
	}
	return hubspot.OnlyReads(c.method, c.target.path)
}

// callerName is empty for a request without a key, or with one that is not
// known.
func (c *Call) callerName() string {
	if c.caller == nil {
		return ""
	}
	return c.caller.Name()
}
