package chaos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// connect installs the app for a user: the link from the sidecar, the consent
// in the sandbox, and the way back to the sidecar.
func connect(s *sidecar, app *appSetup, c *conn) error {
	body, _, err := get(s.transport, "http://localhost/hubspot/auth/"+c.app+"?userForeignIdentifier="+url.QueryEscape(c.user), http.StatusOK)
	if err != nil {
		return fmt.Errorf("asking for a link: %w", err)
	}
	var link struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(body, &link); err != nil {
		return fmt.Errorf("asking for a link: %w", err)
	}
	_, header, err := get(http.DefaultTransport, link.URL+"&_sandbox_approve="+strconv.FormatInt(c.hub, 10), http.StatusFound)
	if err != nil {
		return fmt.Errorf("consenting: %w", err)
	}
	back := header.Get("Location")
	if !strings.HasPrefix(back, "http://localhost/hubspot/"+app.name+"/callback?") {
		return fmt.Errorf("consenting: the sandbox sends the user elsewhere")
	}
	if _, _, err := get(s.transport, back, http.StatusOK); err != nil {
		return fmt.Errorf("coming back: %w", err)
	}
	return nil
}

// get makes a request as the caller, without following redirects.
func get(transport http.RoundTripper, address string, want int) ([]byte, http.Header, error) {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+callerKey)
	client := http.Client{
		Transport: transport, Timeout: callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != want {
		return nil, nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, resp.Header, nil
}
