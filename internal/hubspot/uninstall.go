package hubspot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// UninstallError is an app that was not removed from an account. Its text
// holds nothing of the other side but words of a fixed shape.
type UninstallError struct {
	// HTTPStatus is that of the answer; 0 if there was none.
	HTTPStatus int
	// Category is HubSpot's word for the refusal, if it gave one.
	Category string
	// TokenRefused says that HubSpot does not take the access token (any more).
	TokenRefused bool
	// Final says that HubSpot has refused it in its own words, for a reason
	// that another try does not change: a token that acts for one person may
	// not do it, say.
	Final bool
	// RetryAfter is how long HubSpot asked to wait; 0 if it did not.
	RetryAfter time.Duration

	cause error
}

// Error says what HubSpot answered.
func (e *UninstallError) Error() string {
	switch {
	case e.HTTPStatus == 0:
		return "uninstalling the app: " + describeTransport(e.cause)
	case e.Category != "":
		return fmt.Sprintf("uninstalling the app: HTTP %d, %s", e.HTTPStatus, e.Category)
	}
	return fmt.Sprintf("uninstalling the app: HTTP %d", e.HTTPStatus)
}

// Unwrap returns the transport or context error behind e, or nil. Its text may
// quote the other side.
func (e *UninstallError) Unwrap() error { return e.cause }

// Uninstall removes the app from the account that an access token opens, as
// its users could under Connected apps. That ends all grants of the app in the
// account, whoever gave them. Errors are a *[UninstallError].
//
// It is DELETE /appinstalls/{version}/external-install with the scope oauth,
// answered with 204; see HubSpot's specification "App Uninstalls".
func (c *Client) Uninstall(ctx context.Context, accessToken secret.Text) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.Endpoints.UninstallURL(), http.NoBody)
	if err != nil {
		return &UninstallError{cause: err}
	}
	req.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	resp, err := c.newCall(accessToken).client.Do(req)
	if err != nil {
		return &UninstallError{cause: err}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // judged by its status if it is cut short
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return uninstallRefusal(resp, body)
}

func uninstallRefusal(resp *http.Response, body []byte) error {
	var words struct {
		Status   string `json:"status"`
		Category string `json:"category"`
		Message  string `json:"message"`
	}
	e := &UninstallError{
		HTTPStatus:   resp.StatusCode,
		TokenRefused: resp.StatusCode == http.StatusUnauthorized,
		RetryAfter:   retryAfter(resp.Header, time.Now()),
	}
	if json.Unmarshal(body, &words) != nil || words.Message == "" && words.Category == "" {
		return e // in between, as an egress proxy is
	}
	if statusShape.MatchString(words.Category) {
		e.Category = words.Category
	}
	e.Final = resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusBadRequest
	return e
}
