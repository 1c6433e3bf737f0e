package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

const (
	// maxAnswer is the largest answer of the journal's endpoints in bytes.
	maxAnswer = 4 << 20
	// batchSize is how many files are asked for at a time. What a process has
	// read when it ends is read again, so that it is not HubSpot's 100.
	batchSize = 10
)

// Tokens gives the app's own token; [connection.Manager] does.
type Tokens interface {
	AppToken(ctx context.Context, scopes []string) (connection.Token, error)
	AppTokenRejected(ctx context.Context, scopes []string, refused connection.Token) (connection.Token, error)
}

// client asks the endpoints of the journal.
type client struct {
	http   *http.Client
	tokens Tokens
	// api is scheme://host, and version that of the endpoints.
	api, version string
}

// entry points to a file.
type entry struct {
	Offset string `json:"currentOffset"`
	URL    string `json:"url"`
}

// statusError is an answer that is not what was asked for.
type statusError struct {
	status     int
	category   string
	retryAfter time.Duration
}

// Error names the status and HubSpot's category.
func (e statusError) Error() string {
	text := "HTTP " + strconv.Itoa(e.status)
	if e.category != "" {
		text += " " + e.category
	}
	return text
}

// errBroken means that an answer cannot be read.
var errBroken = errors.New("the answer is cut short, or not what it should be")

// next returns up to batchSize entries behind an offset, and HubSpot's time;
// the empty offset is the beginning of the journal.
func (c *client) next(ctx context.Context, offset string) ([]entry, time.Time, error) {
	path := "/batch/earliest/" + strconv.Itoa(batchSize)
	if offset != "" {
		path = "/batch/" + url.PathEscape(offset) + "/next/" + strconv.Itoa(batchSize)
	}
	var answer struct {
		Results []entry `json:"results"`
	}
	at, err := c.call(ctx, http.MethodGet, "/webhooks-journal/journal/"+c.version+path, nil, &answer)
	if err != nil {
		return nil, at, fmt.Errorf("reading the journal: %w", err)
	}
	for _, e := range answer.Results {
		if e.Offset == "" || e.URL == "" || len(e.Offset) > 256 {
			return nil, at, fmt.Errorf("reading the journal: %w", errBroken)
		}
	}
	return answer.Results, at, nil
}

// subscription is what a subscription to events of the app's life has.
type subscription struct {
	Type        string   `json:"subscriptionType"`
	EventTypeID string   `json:"eventTypeId"`
	Properties  []string `json:"properties"`
}

const typeLifecycle = "APP_LIFECYCLE_EVENT"

// properties are what the events have to bring.
var properties = []string{"hs_app_id", "hs_app_install_level", "hs_initiating_user_id", "hs_user_id"}

// subscribe makes the subscriptions that are not there.
func (c *client) subscribe(ctx context.Context) (made int, err error) {
	path := "/webhooks-journal/subscriptions/" + c.version
	var answer json.RawMessage
	if _, err := c.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return 0, fmt.Errorf("listing the journal's subscriptions: %w", err)
	}
	existing, err := readSubscriptions(answer)
	if err != nil {
		return 0, fmt.Errorf("listing the journal's subscriptions: %w", err)
	}
	for _, id := range []string{typeUninstall, typeInstall} {
		if existing[id] {
			continue
		}
		body, err := json.Marshal(subscription{Type: typeLifecycle, EventTypeID: id, Properties: properties})
		if err != nil {
			return made, fmt.Errorf("subscribing to the journal: %w", err)
		}
		if _, err := c.call(ctx, http.MethodPost, path, body, nil); err != nil {
			return made, fmt.Errorf("subscribing to the journal: %w", err)
		}
		made++
	}
	return made, nil
}

// readSubscriptions returns the event types that are subscribed to. HubSpot's
// lists are an object with results; a list alone will do.
func readSubscriptions(answer json.RawMessage) (map[string]bool, error) {
	var page struct {
		Results []subscription `json:"results"`
	}
	if len(answer) > 0 && json.Unmarshal(answer, &page) != nil && json.Unmarshal(answer, &page.Results) != nil {
		return nil, errBroken
	}
	existing := make(map[string]bool)
	for _, s := range page.Results {
		if s.Type == typeLifecycle {
			existing[s.EventTypeID] = true
		}
	}
	return existing, nil
}

// call asks once, or twice if HubSpot refuses the token. It returns HubSpot's
// time, or ours if it does not say.
func (c *client) call(ctx context.Context, method, path string, body []byte, into any) (time.Time, error) {
	scopes := hubspot.JournalScopes()
	token, err := c.tokens.AppToken(ctx, scopes)
	if err != nil {
		return time.Now(), err
	}
	at, err := c.try(ctx, method, path, body, into, token)
	var refused statusError
	if !errors.As(err, &refused) || refused.status != http.StatusUnauthorized {
		return at, err
	}
	if token, err = c.tokens.AppTokenRejected(ctx, scopes, token); err != nil {
		return at, fmt.Errorf("%w, and no other token: %w", refused, err)
	}
	return c.try(ctx, method, path, body, into, token)
}

func (c *client) try(ctx context.Context, method, path string, body []byte, into any, token connection.Token) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.api+path, bytes.NewReader(body))
	if err != nil {
		return time.Now(), err
	}
	req.Header.Set("Authorization", "Bearer "+token.Access.Reveal())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-hubspot")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return time.Now(), withoutURL(err)
	}
	defer res.Body.Close()
	at, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		at = time.Now()
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return at, withoutURL(err)
	}
	if res.StatusCode/100 != 2 {
		return at, refusalOf(res, data)
	}
	if into == nil || len(bytes.TrimSpace(data)) == 0 {
		return at, nil // 204 is the end of the journal
	}
	if json.Unmarshal(data, into) != nil {
		return at, errBroken
	}
	return at, nil
}

// refusalOf reads an answer that is not what was asked for. Its words are not
// shown, but for a category of a fixed shape.
func refusalOf(res *http.Response, data []byte) statusError {
	var body struct {
		Category string `json:"category"`
	}
	_ = json.Unmarshal(data, &body)
	e := statusError{status: res.StatusCode}
	if len(body.Category) <= 48 && strings.Trim(body.Category, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
		e.category = body.Category
	}
	e.retryAfter, _ = hubspot.ReadRetryAfter(res.Header)
	return e
}
