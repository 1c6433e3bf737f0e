package vaultstore

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// appRoleLogin logs in with role id and secret id. The secret id of a
// wrapped one is kept in memory, since it can be unwrapped only once.
type appRoleLogin struct {
	AppRoleAuth
	// unwrapped is the secret id that came out of wrapping.
	unwrapped secret.Text
	// wrapping is the last response-wrapping token that was used up.
	wrapping secret.Text
	lockout  lockout
}

// What stands in a secret id's place by mistake. A secret id that Vault made
// is a UUID; tokens are documented at
// https://developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes.
var (
	vaultToken   = regexp.MustCompile(`^(hv[sbr]\.[A-Za-z0-9_.-]{20,}|[sr]\.[A-Za-z0-9]{24}(\.[A-Za-z0-9]+)?|b\.[A-Za-z0-9_-]{60,})$`)
	vaultMadeOne = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

func (*appRoleLogin) name() string { return "approle" }

func (l *appRoleLogin) login(ctx context.Context, c *client) (lease, error) {
	secretID, err := l.secretID(ctx, c)
	if err != nil {
		return lease{}, err
	}
	credential := secretID.Mark()
	if err := l.lockout.allow(credential, l.Mount); err != nil {
		return lease{}, err
	}
	if !l.Wrapped && vaultToken.MatchString(secretID.Reveal()) {
		return lease{}, l.notASecretID(ctx, c, secretID)
	}
	fields := map[string]any{"role_id": l.RoleID.Reveal(), "secret_id": secretID.Reveal()}
	got, err := logIn(ctx, c, c.as(secret.Text{}), l.Mount, fields, l.RoleID, secretID)
	err = l.lockout.judge(credential, l.Mount, err)
	return got, aboutMount(err)
}

// notASecretID names what is there instead, without a login that could only
// fail. Asking about a wrapping token does not use it up.
func (l *appRoleLogin) notASecretID(ctx context.Context, c *client, token secret.Text) error {
	_, err := lookupWrapping(ctx, c, token)
	switch {
	case err == nil:
		return l.lockout.hold(token.Mark(), refusedHold, "a response-wrapping token stands where the secret id is expected: "+
			"set secret_id_wrapped, or give the secret id itself")
	case isTemporary(err) || statusOf(err) == 0:
		return err
	}
	return l.lockout.hold(token.Mark(), refusedHold, "a Vault token stands where the secret id is expected "+
		"(or a response-wrapping token that is used up or has expired): give a secret id of the role, "+
		"or a new wrapping token together with secret_id_wrapped")
}

func (l *appRoleLogin) secretID(ctx context.Context, c *client) (secret.Text, error) {
	given, err := l.given()
	switch {
	case !l.Wrapped:
		return given, err
	case !l.unwrapped.IsZero() && (err != nil || given.Equal(l.wrapping)):
		// The file may be gone or used up; what was in it is known.
		return l.unwrapped, nil
	case err != nil:
		return secret.Text{}, err
	case given.Equal(l.wrapping):
		return secret.Text{}, errWrappingUsed()
	}
	return l.unwrap(ctx, c, given)
}

func (l *appRoleLogin) given() (secret.Text, error) {
	if l.SecretIDFile == "" {
		return l.SecretID, nil
	}
	return readSecretFile(l.SecretIDFile)
}

func errWrappingUsed() error {
	return refused("the response-wrapping token of the secret id was used before or has expired; " +
		"if this program did not use it, somebody else may hold the secret id: destroy that and wrap a new one")
}

// creationPath is where a wrapping token of a secret id was made. Another
// path means that somebody unwrapped it and wrapped something himself
// (https://developer.hashicorp.com/vault/docs/concepts/response-wrapping).
func (l *appRoleLogin) creationPath() *regexp.Regexp {
	return regexp.MustCompile(`(^|/)auth/` + regexp.QuoteMeta(l.Mount) + `/role/[^/]+/secret-id/?$`)
}

// unwrap trades the wrapping token for the secret id. The requests carry no
// token of ours: an expired one would make Vault refuse them.
func (l *appRoleLogin) unwrap(ctx context.Context, c *client, wrapping secret.Text) (secret.Text, error) {
	if vaultMadeOne.MatchString(wrapping.Reveal()) {
		return secret.Text{}, refused("secret_id_wrapped is set, and what looks like a secret id stands where the response-wrapping token is expected")
	}
	looked, err := lookupWrapping(ctx, c, wrapping)
	if err != nil {
		return secret.Text{}, l.wrappingError(err, wrapping)
	}
	if !l.creationPath().MatchString(textOf(looked, "creation_path")) {
		l.wrapping = wrapping
		return secret.Text{}, refused("the response-wrapping token was not made by the secret-id endpoint of this login; " +
			"somebody may have replaced it")
	}
	unwrapped, err := ask(ctx, c, func() (*api.Secret, error) {
		return c.as(wrapping).Logical().UnwrapWithContext(ctx, wrapping.Reveal())
	})
	if err != nil {
		return secret.Text{}, l.wrappingError(err, wrapping)
	}
	l.wrapping = wrapping
	l.unwrapped = secret.New(textOf(unwrapped, "secret_id"))
	if l.unwrapped.IsZero() {
		return secret.Text{}, refused("the response-wrapping token held no secret id")
	}
	return l.unwrapped, nil
}

// lookupWrapping asks about a wrapping token.
func lookupWrapping(ctx context.Context, c *client, wrapping secret.Text) (*api.Secret, error) {
	return ask(ctx, c, func() (*api.Secret, error) {
		return c.as(secret.Text{}).Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": wrapping.Reveal()})
	})
}

// wrappingError remembers a wrapping token that is no good any more.
func (l *appRoleLogin) wrappingError(err error, wrapping secret.Text) error {
	answer, ok := errors.AsType[statusError](err)
	switch {
	case !ok || isTemporary(err):
		return err
	case says(err, http.StatusBadRequest, textWrappingToken):
		l.wrapping = wrapping
		return errWrappingUsed()
	}
	return refused("unwrapping the secret id: vault answered %d: %s", answer.StatusCode, answer.loginReason(wrapping))
}
