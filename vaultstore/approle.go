package vaultstore

import (
	"context"
	"net/http"
	"regexp"

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
}

func (*appRoleLogin) name() string { return "approle" }

func (l *appRoleLogin) login(ctx context.Context, c *client) (lease, error) {
	secretID, err := l.secretID(ctx, c)
	if err != nil {
		return lease{}, err
	}
	body := map[string]string{"role_id": l.RoleID.Reveal(), "secret_id": secretID.Reveal()}
	return post(ctx, c, request{path: "auth/" + l.Mount + "/login", body: body}, l.RoleID, secretID)
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
	a, err := c.send(ctx, request{
		method: http.MethodPost, path: "sys/wrapping/lookup", body: map[string]string{"token": wrapping.Reveal()},
	})
	if err != nil {
		return secret.Text{}, err
	}
	var looked struct {
		Data struct {
			CreationPath string `json:"creation_path"`
		} `json:"data"`
	}
	if err := l.wrappingAnswer(a, wrapping, &looked); err != nil {
		return secret.Text{}, err
	}
	if !l.creationPath().MatchString(looked.Data.CreationPath) {
		l.wrapping = wrapping
		return secret.Text{}, refused("the response-wrapping token was not made by the secret-id endpoint of this login; " +
			"somebody may have replaced it")
	}
	a, err = c.send(ctx, request{method: http.MethodPost, path: "sys/wrapping/unwrap", token: wrapping})
	if err != nil {
		return secret.Text{}, err
	}
	var unwrapped struct {
		Data struct {
			SecretID string `json:"secret_id"`
		} `json:"data"`
	}
	if err := l.wrappingAnswer(a, wrapping, &unwrapped); err != nil {
		return secret.Text{}, err
	}
	l.wrapping = wrapping
	if unwrapped.Data.SecretID == "" {
		return secret.Text{}, refused("the response-wrapping token held no secret id")
	}
	l.unwrapped = secret.New(unwrapped.Data.SecretID)
	return l.unwrapped, nil
}

// wrappingAnswer decodes a success and remembers a wrapping token that is no
// good any more.
func (l *appRoleLogin) wrappingAnswer(a answer, wrapping secret.Text, v any) error {
	switch {
	case a.status < 300:
		return a.decode(v)
	case a.isOutage() || a.status == http.StatusTooManyRequests:
		return a.err()
	case a.status == http.StatusBadRequest && a.says(textWrappingToken):
		l.wrapping = wrapping
		return errWrappingUsed()
	}
	return refused("unwrapping the secret id: vault answered %d: %s", a.status, a.loginReason(wrapping))
}
