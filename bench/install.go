package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// user is the one whose connection all calls use.
const user = "acme"

// connect takes the user through an install at the sandbox, as a browser
// would: the link that the sidecar gives, consent, the callback.
func connect(ctx context.Context, client *http.Client, base string) error {
	var link struct {
		URL string `json:"url"`
	}
	got, err := get(ctx, client, base+"/hubspot/auth/hbdev?userForeignIdentifier="+user)
	if err != nil {
		return fmt.Errorf("asking for an install link: %w", err)
	}
	if err := json.Unmarshal(got.body, &link); err != nil || link.URL == "" {
		return fmt.Errorf("asking for an install link: status %d, %.300s", got.status, got.body)
	}
	got, err = get(ctx, client, link.URL+"&_sandbox_approve="+strconv.FormatInt(sandbox.DemoHubID, 10))
	if err != nil {
		return fmt.Errorf("consenting: %w", err)
	}
	callback := got.header.Get("Location")
	if callback == "" {
		return fmt.Errorf("consenting: status %d without a redirect, %.300s", got.status, got.body)
	}
	got, err = get(ctx, client, callback)
	if err != nil {
		return fmt.Errorf("calling back: %w", err)
	}
	if got.status != http.StatusOK {
		return fmt.Errorf("calling back: status %d, %.300s", got.status, got.body)
	}
	return nil
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get asks as the caller.
func get(ctx context.Context, client *http.Client, url string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+callerKey)
	req.Header.Set("Accept", "application/json")
	return ask(client, req)
}

// ask sends a request and reads the answer.
func ask(client *http.Client, req *http.Request) (answer, error) {
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: body}, err
}
