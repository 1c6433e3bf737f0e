package auth

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
	"github.com/caddy-hubspot/caddy-hubspot/internal/install"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("hubspot_auth", parseAuth)
	// After what finds out who the browser's user is, and before what
	// would answer the request.
	httpcaddyfile.RegisterDirectiveOrder("hubspot_auth", httpcaddyfile.After, "forward_auth")
}

func parseAuth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	a := new(Auth)
	err := a.UnmarshalCaddyfile(h.Dispenser)
	return a, err
}

// UnmarshalCaddyfile reads the directive:
//
//	hubspot_auth [<matcher>] {
//	    base_path <path>
//	    user      <placeholder or constant>
//	    sign_in   <url>
//	    return_to <url globs...>
//	    browsers
//	    rate      <requests> <duration>
//	}
//
// Everything but the value of a placeholder is checked here, so that errors
// carry the line.
func (a *Auth) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	directive := d.Token()
	if d.NextArg() {
		return d.Errf("hubspot_auth: takes no argument but a matcher; %q is too much", d.Val())
	}
	returnTo := checked(settings.List(&a.ReturnTo), a.checkReturnTo)
	returnTo.Repeatable = true
	err := settings.Block(d, "hubspot_auth", map[string]settings.Setting{
		"base_path": checked(settings.Text(&a.BasePath), a.checkBasePath),
		"user":      checked(settings.Text(&a.User), a.checkUser),
		"sign_in":   checked(settings.Text(&a.SignIn), a.checkSignIn),
		"return_to": returnTo,
		"browsers":  settings.Flag(&a.Browsers),
		"rate":      {Parse: a.parseRate},
	})
	if err != nil {
		return err
	}
	if a.SignIn != "" && a.User == "" {
		at := caddyfile.NewDispenser([]caddyfile.Token{directive})
		at.Next()
		return at.Err("hubspot_auth: sign_in needs the setting user, which says who has signed in")
	}
	return nil
}

// checked names the module in the errors of check.
func checked(s settings.Setting, check func() error) settings.Setting {
	return settings.Checked(s, func() error {
		if err := check(); err != nil {
			return fmt.Errorf("hubspot_auth: %w", err)
		}
		return nil
	})
}

func (a *Auth) checkBasePath() error {
	_, err := install.ParseBase(a.BasePath)
	return err
}

func (a *Auth) checkUser() error {
	if _, err := settings.UserSource(a.User); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	return nil
}

func (a *Auth) checkSignIn() error {
	if placeholder.In(a.SignIn) {
		return nil
	}
	if _, err := install.ParseSignIn(a.SignIn); err != nil {
		return fmt.Errorf("sign_in %q: %w", a.SignIn, err)
	}
	return nil
}

func (a *Auth) checkReturnTo() error {
	seen := make(map[string]bool)
	for _, pattern := range a.ReturnTo {
		if seen[pattern] {
			return fmt.Errorf("return_to %q: is given twice", pattern)
		}
		seen[pattern] = true
		if placeholder.In(pattern) {
			continue
		}
		if _, err := install.ParseReturnList([]string{pattern}); err != nil {
			return err
		}
	}
	return nil
}

func (a *Auth) parseRate(d *caddyfile.Dispenser) error {
	var count, per string
	if !d.AllArgs(&count, &per) {
		return d.Err("hubspot_auth: rate: give a number of requests and a duration, as in: rate 30 1m")
	}
	var err error
	if a.Rate, err = appconfig.ParseRate(count, per); err != nil {
		return d.Errf("hubspot_auth: rate: %v", err)
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Auth)(nil)
