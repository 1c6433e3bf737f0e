package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	callTimeout = time.Minute
	maxTries    = 8
	maxPause    = 2 * time.Minute
	maxAnswer   = 16 << 20
)

// client calls HubSpot's API through the sidecar, for one customer. Use
// newClient; a client may be used concurrently.
type client struct {
	http *http.Client
	base string
	key  string
}

// newClient makes a client for a customer. key is that of a caller of the
// sidecar, no HubSpot token.
func newClient(sidecar, key, user string) *client {
	return &client{
		http: &http.Client{
			Timeout: callTimeout,
			// The sidecar is not behind a proxy, and leaves redirects to its callers.
			Transport:     &http.Transport{Proxy: nil, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: sidecar + "/as/" + url.PathEscape(user),
		key:  key,
	}
}

// query is the body of a search.
type query struct {
	FilterGroups []filterGroup `json:"filterGroups"`
	Properties   []string      `json:"properties,omitempty"`
	Sorts        []sorting     `json:"sorts,omitempty"`
	Limit        int           `json:"limit"`
}

// filterGroup has filters that all have to match.
type filterGroup struct {
	Filters []filter `json:"filters"`
}

type filter struct {
	PropertyName string `json:"propertyName"`
	Operator     string `json:"operator"`
	Value        string `json:"value"`
}

type sorting struct {
	PropertyName string `json:"propertyName"`
	Direction    string `json:"direction"`
}

// page is what a search has found.
type page struct {
	// Total is how many there are, whatever the limit is.
	Total   int      `json:"total"`
	Results []object `json:"results"`
}

type object struct {
	ID         string             `json:"id"`
	Properties map[string]*string `json:"properties"`
}

// property returns a property, or "" where it is not set.
func (o object) property(name string) string {
	if value := o.Properties[name]; value != nil {
		return *value
	}
	return ""
}

// apiError is an answer that is no success, HubSpot's or the sidecar's: they have
// one shape.
type apiError struct {
	Status     int               `json:"-"`
	RetryAfter time.Duration     `json:"-"`
	Message    string            `json:"message"`
	PolicyName string            `json:"policyName"`
	Links      map[string]string `json:"links"`
}

func (e *apiError) Error() string {
	text := fmt.Sprintf("HTTP %d: %s", e.Status, e.Message)
	if link := cmp.Or(e.Links["connect"], e.Links["reconnect"]); link != "" {
		text += "\nto connect the account: " + link
	}
	return text
}

// search finds objects of a type, such as contacts. The sidecar has waited for a
// place among the account's searches and tried again by itself for as long as its
// max_wait is; a report has more patience. A search only reads, so it may be
// made twice.
func (c *client) search(ctx context.Context, objectType string, q query) (page, error) {
	for tries := 1; ; tries++ {
		var found page
		err := c.post(ctx, "/crm/objects/2026-09/"+objectType+"/search", q, &found)
		if err == nil {
			return found, nil
		}
		pause, ok := pauseAfter(err, tries)
		if !ok || tries == maxTries || ctx.Err() != nil {
			return page{}, err
		}
		select {
		case <-ctx.Done():
			return page{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// post makes one call.
func (c *client) post(ctx context.Context, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-HubSpot-Priority", "batch") // searches that people wait for go first
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return json.Unmarshal(text, into)
	}
	failed := &apiError{Status: res.StatusCode}
	if json.Unmarshal(text, failed) != nil { // HubSpot's edge has HTML for errors
		failed.Message = http.StatusText(res.StatusCode)
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		failed.RetryAfter = time.Duration(seconds) * time.Second
	}
	return failed
}

// pauseAfter is how long to wait before a call is made again; false if that
// would not help.
func pauseAfter(err error, tries int) (time.Duration, bool) {
	backoff := rand.N(min(30*time.Second, 500*time.Millisecond<<tries))
	failed, ok := errors.AsType[*apiError](err)
	switch {
	case !ok: // no answer
		return backoff, true
	case failed.PolicyName == "DAILY":
		return 0, false
	case failed.Status != http.StatusTooManyRequests && failed.Status != http.StatusLocked && failed.Status < 500:
		return 0, false
	case failed.RetryAfter > 0:
		return failed.RetryAfter, failed.RetryAfter <= maxPause
	case failed.Status == http.StatusTooManyRequests:
		return time.Second, true // the length of HubSpot's window for searches
	}
	return backoff, true
}
