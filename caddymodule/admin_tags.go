package caddymodule

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// tagQuestion names the user whose tag is asked for. It comes in a body
// because Caddy logs the paths of the admin API.
type tagQuestion struct {
	User string `json:"userForeignIdentifier"`
}

// tagAnswer has the tag by which logs and the audit log know a user.
type tagAnswer struct {
	UserTag string `json:"userTag"`
}

// maxTagQuestion is longer than a question with the longest user, escaped.
const maxTagQuestion = 16 << 10

// tags serves /hubspot/tags/<app>.
func (a *adminAPI) tags(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodPost); err != nil {
		return 0, nil, err
	}
	app, err := activeApp()
	if err != nil {
		return 0, nil, err
	}
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), adminTags+"/"))
	if err != nil {
		return 0, nil, adminError(http.StatusBadRequest, "the path is not /hubspot/tags/<app>, percent-encoded")
	}
	hub, ok := app.app(name)
	if !ok {
		return 0, nil, adminError(http.StatusNotFound, "there is no app %q", name)
	}
	var question tagQuestion
	if err := json.NewDecoder(io.LimitReader(r.Body, maxTagQuestion)).Decode(&question); err != nil || question.User == "" {
		return 0, nil, adminError(http.StatusBadRequest, `the body is not {"userForeignIdentifier": "<user>"}`)
	}
	tag := hub.manager.Tag(ctx, question.User)
	if tag == audit.UnknownTag {
		return 0, nil, adminError(http.StatusServiceUnavailable, "the store does not answer, and the tag cannot be made without it")
	}
	return http.StatusOK, tagAnswer{UserTag: tag}, nil
}
