package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
)

// admit finds out who calls, for whom and what for, and whether that is
// permitted. It returns the request to pass on and what takes the answer.
// The error is an [*apierror.Error].
func (p *Proxy) admit(c *call, r *http.Request) (*http.Request, answerWriter, error) {
	var err error
	if c.caller, err = p.authenticate(r); err != nil {
		return nil, nil, err
	}
	if err := checkUpgrade(r); err != nil {
		return nil, nil, err
	}
	if err := checkOverrides(r.Header); err != nil {
		return nil, nil, err
	}
	if err := p.readTarget(c, r); err != nil {
		return nil, nil, err
	}
	if err := p.readPacing(c, r.Header); err != nil {
		return nil, nil, err
	}
	ctx := context.WithValue(r.Context(), callKey{}, c)
	if app, ok := strings.CutPrefix(c.target.path, rawPrefix); ok {
		return p.admitEnvelope(ctx, c, r, app)
	}
	if err := p.judge(ctx, c); err != nil {
		return nil, nil, err
	}
	p.keepHere(r.Header)
	return r.WithContext(ctx), &c.writer, nil
}

// authenticate finds the caller.
func (p *Proxy) authenticate(r *http.Request) (*access.Caller, error) {
	_, hasKey := r.Header["Authorization"]
	switch {
	case !p.Open || hasKey && p.app.callers != nil:
		return p.app.authenticate(r)
	case hasKey:
		return nil, apierror.New(apierror.CallerUnauthenticated,
			"A key was given, but no caller is configured. Leave the Authorization header out, or name a caller with this key in the global option hubspot.")
	}
	if caller, err := p.app.recognize(r); caller != nil || err != nil {
		return caller, err
	}
	if err := p.checkOpen(r); err != nil {
		return nil, err
	}
	return p.anyone, nil
}

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
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url",
}

// checkOverrides refuses requests that may be taken for others.
func checkOverrides(header http.Header) error {
	for _, name := range overrides {
		if _, ok := header[name]; ok {
			return badRequest(fmt.Errorf("the header %s can make another request of this one; send the method and the path themselves", name))
		}
	}
	return nil
}

// readTarget notes what is asked for, and for which user as far as the path
// or the setting says.
func (p *Proxy) readTarget(c *call, r *http.Request) error {
	c.method = r.Method
	if err := checkMethod(r.Method); err != nil {
		return err
	}
	t, err := targetOf(r)
	if err != nil {
		return badRequest(err)
	}
	user, t, fromPath, err := t.cutUser()
	if err != nil {
		return badRequest(err)
	}
	if !fromPath {
		if user, err = p.user.find(r); err != nil {
			return badRequest(err)
		}
	}
	c.user, c.target = user, t.withoutDeveloperKey()
	return nil
}

// checkMethod refuses the methods that are not for the resource itself, in
// any case: there are servers that do not regard it.
func checkMethod(method string) error {
	switch {
	case strings.EqualFold(method, "CONNECT"):
		return badRequest(errors.New("the sidecar is no forward proxy; ask it for HubSpot's paths"))
	case strings.EqualFold(method, "TRACE"), strings.EqualFold(method, "TRACK"):
		return apierror.New(apierror.EndpointBlocked, method+" would send the access token back, so it is not passed on.")
	}
	return nil
}

// judge checks a call that is known in full.
func (p *Proxy) judge(ctx context.Context, c *call) error {
	c.addTokenUser()
	if c.user == "" {
		return p.userRequired()
	}
	if err := checkUser(c.user); err != nil {
		return badRequest(err)
	}
	readings, err := access.Readings(c.target.path)
	if err != nil {
		return badRequest(err)
	}
	blocked, err := access.Judge(readings, access.Blocked)
	if err != nil {
		return badRequest(err)
	}
	if blocked {
		return apierror.New(apierror.EndpointBlocked,
			"This endpoint of HubSpot gives out tokens or takes them in. The sidecar keeps the tokens, so it does not pass the request on.")
	}
	if err := p.enforce(ctx, c, c.caller.CheckUser(p.hub.name, c.user)); err != nil {
		return err
	}
	if err := p.enforce(ctx, c, c.caller.CheckPath(c.method, readings)); err != nil {
		return err
	}
	c.guard.suspicious = slices.ContainsFunc(readings, smellsOfCredentials)
	return c.checkFrozen(ctx)
}

// enforce makes an answer of what the caller's policy says, which is nil for
// permission.
func (p *Proxy) enforce(ctx context.Context, c *call, refusal error) error {
	dryRun, refused := p.hub.enforce(ctx, c.caller, c.user, refusal)
	c.dryRun = cmp.Or(c.dryRun, dryRun)
	if refused != nil {
		return refused
	}
	return nil
}

func (p *Proxy) userRequired() error {
	message := "The request does not say for which user it is. "
	if p.user.header != "" {
		message += "Name the user in the header " + headerText(p.user.header) + " or with the path prefix /as/{user}/."
	} else {
		message += "The sidecar's setting user gave none for it. Name the user with the path prefix /as/{user}/."
	}
	return apierror.New(apierror.UserRequired, message)
}

// headerText returns a header's name as the documentation has it.
func headerText(canonical string) string {
	if canonical == headerUser {
		return "X-HubSpot-User"
	}
	return canonical
}

func badRequest(err error) *apierror.Error {
	return apierror.Wrap(apierror.BadRequest, sentence(err), err)
}
