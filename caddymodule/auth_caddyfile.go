package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/appconfig"
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
	err := parseBlock(d, "hubspot_auth", map[string]setting{
		"base_path": checkedSetting(textSetting(&a.BasePath), a.checkBasePath),
		"user":      checkedSetting(textSetting(&a.User), a.checkUser),
		"sign_in":   checkedSetting(textSetting(&a.SignIn), a.checkSignIn),
		"return_to": {parse: checkedSetting(listSetting(&a.ReturnTo), a.checkReturnTo).parse, repeatable: true},
		"rate":      {parse: a.parseRate},
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

// checkedSetting is a setting that is checked once it is read.
func checkedSetting(s setting, check func() error) setting {
	parse := s.parse
	s.parse = func(d *caddyfile.Dispenser) error {
		if err := parse(d); err != nil {
			return err
		}
		if err := check(); err != nil {
			return d.Errf("hubspot_auth: %v", err)
		}
		return nil
	}
	return s
}

func (a *Auth) checkBasePath() error {
	_, err := parseBasePath(a.BasePath)
	return err
}

func (a *Auth) checkUser() error {
	if _, err := newUserSource(a.User); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	return nil
}

func (a *Auth) checkSignIn() error {
	if hasPlaceholder(a.SignIn) {
		return nil
	}
	if _, err := parseSignIn(a.SignIn); err != nil {
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
		if hasPlaceholder(pattern) {
			continue
		}
		if _, err := newReturnList([]string{pattern}); err != nil {
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
