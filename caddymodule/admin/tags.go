package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// maxTagQuestion is longer than a question with the longest user, escaped.
const maxTagQuestion = 16 << 10

// tags serves /hubspot/tags/<app>.
func tags(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodPost); err != nil {
		return 0, nil, err
	}
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), adminapi.Tags+"/"))
	if err != nil {
		return 0, nil, failure(http.StatusBadRequest, "the path is not /hubspot/tags/<app>, percent-encoded")
	}
	app, ok := s.App(name)
	if !ok {
		return 0, nil, failure(http.StatusNotFound, "there is no app %q", name)
	}
	var question adminapi.TagQuestion
	if err := json.NewDecoder(io.LimitReader(r.Body, maxTagQuestion)).Decode(&question); err != nil || question.User == "" {
		return 0, nil, failure(http.StatusBadRequest, `the body is not {"userForeignIdentifier": "<user>"}`)
	}
	tag := app.Manager.Tag(ctx, question.User)
	if tag == audit.UnknownTag {
		return 0, nil, failure(http.StatusServiceUnavailable, "the store does not answer, and the tag cannot be made without it")
	}
	return http.StatusOK, adminapi.TagAnswer{UserTag: tag}, nil
}
