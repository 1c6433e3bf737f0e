package vaultstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// lease is a token and how long it is good for.
type lease struct {
	token secret.Text
	// ttl is the time to live from the login on; 0 is for ever.
	ttl time.Duration
	// renewable says that it is ours to renew.
	renewable bool
	// uses is how many requests the token is good for; 0 is no limit.
	uses int
	// recheck asks for another login after this time, instead of 2/3 of ttl.
	recheck time.Duration
}

// loginMethod gets tokens. The session calls it one at a time.
type loginMethod interface {
	name() string
	login(context.Context, *client) (lease, error)
}

// refusedError is a login that Vault, or what it was to be made with, does
// not allow: trying again soon will not help.
type refusedError struct {
	reason string
	// status is that of Vault's answer to the login, or 0.
	status int
	// held says that the login was not made, or will not be made again
	// soon, with this credential. Whether it is another costs Vault nothing.
	held bool
}

func (e *refusedError) Error() string { return e.reason }

func refused(format string, args ...any) error {
	return &refusedError{reason: fmt.Errorf(format, args...).Error()}
}

// logIn writes fields to the login of an auth mount and returns the lease
// that Vault grants. Credentials in fields are given in sent as well.
func logIn(ctx context.Context, c *client, v *api.Client, mount string, fields map[string]any, sent ...secret.Text) (lease, error) {
	uses := 0
	got, err := ask(ctx, c, func() (got *api.Secret, err error) {
		got, uses, err = writeLogin(ctx, v, "auth/"+mount+"/login", fields)
		return got, err
	})
	answer, ok := errors.AsType[statusError](err)
	switch {
	case err == nil:
		got, err := leaseOf(got)
		got.uses = uses
		return got, err
	case !ok || isTemporary(err):
		return lease{}, err
	}
	return lease{}, &refusedError{
		status: answer.StatusCode,
		reason: fmt.Sprintf("vault answered %d: %s", answer.StatusCode, answer.loginReason(sent...)),
	}
}

// aboutMount adds, to what Vault says of a login's mount that is not there
// as well, a hint at that.
func aboutMount(err error) error {
	r, ok := errors.AsType[*refusedError](err)
	if ok && (r.status == http.StatusForbidden || r.status == http.StatusNotFound) {
		return refused("%w; are the login's mount and the namespace right?", r)
	}
	return err
}

// leaseOf reads the auth part of a login's or renewal's answer.
func leaseOf(got *api.Secret) (lease, error) {
	switch {
	case got == nil:
		return lease{}, errNotVault
	case got.Auth == nil || got.Auth.ClientToken == "":
		return lease{}, refused("the answer has no token; does the login want a second factor?")
	}
	return lease{
		token:     secret.New(got.Auth.ClientToken),
		ttl:       time.Duration(got.Auth.LeaseDuration) * time.Second,
		renewable: got.Auth.Renewable,
	}, nil
}

// readSecretFile reads a credential that stands alone in a file.
func readSecretFile(path string) (secret.Text, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return secret.Text{}, refused("reading credential: %w", err)
	}
	text := string(bytes.TrimSpace(content))
	switch {
	case text == "":
		return secret.Text{}, refused("reading credential: %s is empty", path)
	case len(text) > 64<<10 || bytes.ContainsAny(content, "\x00") || len(bytes.Fields(content)) > 1:
		return secret.Text{}, refused("reading credential: %s must hold one word", path)
	}
	return secret.New(text), nil
}

// tokenLogin uses a given token.
type tokenLogin struct{ token secret.Text }

func (*tokenLogin) name() string { return "token" }

func (l *tokenLogin) login(ctx context.Context, c *client) (lease, error) {
	return lookup(ctx, c, l.token)
}

// lookup asks Vault how long a token lives.
func lookup(ctx context.Context, c *client, token secret.Text) (lease, error) {
	got, err := ask(ctx, c, func() (*api.Secret, error) { return c.as(token).Auth().Token().LookupSelfWithContext(ctx) })
	switch {
	case says(err, http.StatusForbidden, textInvalidToken):
		return lease{}, refused("vault answered 403: the token is not valid: expired, revoked, used up or mistyped")
	case statusOf(err) == http.StatusForbidden:
		// A token without the default policy may not ask about itself.
		return lease{token: token}, nil
	case err != nil:
		return lease{}, err
	}
	ttl, badTTL := got.TokenTTL()
	renewable, badRenewable := got.TokenIsRenewable()
	uses, badUses := got.TokenRemainingUses()
	if badTTL != nil || badRenewable != nil || badUses != nil {
		return lease{}, errNotVault
	}
	if ttl == 0 && textOf(got, "expire_time") != "" {
		// Only a token that never expires has really no ttl.
		ttl = time.Second
	}
	return lease{token: token, ttl: ttl, renewable: renewable, uses: uses}, nil
}

// tokenFileInterval is how often a token file is looked at. Files are not
// watched: sinks replace them in ways that watchers miss.
const tokenFileInterval = 30 * time.Second

// tokenFileLogin uses the token in a file.
type tokenFileLogin struct{ path string }

func (*tokenFileLogin) name() string { return "token_file" }

func (l *tokenFileLogin) login(ctx context.Context, c *client) (lease, error) {
	token, err := readSecretFile(l.path)
	if err != nil {
		return lease{}, err
	}
	if token.Reveal()[0] == '{' {
		return lease{}, refused("%s holds JSON; want a token that is not response-wrapped", l.path)
	}
	got, err := lookup(ctx, c, token)
	if err != nil {
		return lease{}, err
	}
	// Renewing it is its owner's business.
	got.renewable = false
	got.recheck = tokenFileInterval
	if got.ttl > 0 {
		got.recheck = min(got.recheck, got.ttl*2/3)
	}
	return got, nil
}

// jwtLogin is the login of the methods kubernetes and jwt.
type jwtLogin struct{ kind, mount, role, file string }

func (l *jwtLogin) name() string { return l.kind }

func (l *jwtLogin) login(ctx context.Context, c *client) (lease, error) {
	token, err := readSecretFile(l.file)
	if err != nil {
		return lease{}, err
	}
	got, err := logIn(ctx, c, c.as(secret.Text{}), l.mount, map[string]any{"role": l.role, "jwt": token.Reveal()}, token)
	return got, aboutMount(err)
}

// certLogin logs in with the client certificate.
type certLogin struct{ mount, role string }

func (*certLogin) name() string { return "cert" }

func (l *certLogin) login(ctx context.Context, c *client) (lease, error) {
	fields := map[string]any{}
	if l.role != "" {
		fields["name"] = l.role
	}
	got, err := logIn(ctx, c, c.fresh, l.mount, fields)
	// A renewal would have to come from a connection with the same
	// certificate; another login only needs one that is valid.
	got.renewable = false
	return got, aboutMount(err)
}
