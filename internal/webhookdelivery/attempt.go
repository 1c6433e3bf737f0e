package webhookdelivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// The headers of a delivery.
const (
	// HeaderDelivery is the message's ID, the same for every attempt.
	HeaderDelivery = "X-HubSpot-Delivery"
	// HeaderAttempt counts the attempts, from 1.
	HeaderAttempt = "X-HubSpot-Attempt"
	// HeaderApp is the name of the HubSpot app.
	HeaderApp = "X-HubSpot-App"
	// HeaderPortal is whose events these are, where they are one portal's.
	HeaderPortal = "X-HubSpot-Portal"
	// HeaderUsers names the users of that portal, percent-encoded and separated
	// by commas; it is empty if there are none.
	HeaderUsers = "X-HubSpot-Users"
	// HeaderUsersOmitted is how many users there are where their names would
	// not fit into a header.
	HeaderUsersOmitted = "X-HubSpot-Users-Omitted"
)

const (
	// maxUsersHeader is what servers take of one header, with some room.
	maxUsersHeader = 6 << 10
	// maxAnswer is how much of an answer is read, so that its connection can
	// be used again.
	maxAnswer = 64 << 10
)

// attempt sends a message. Without an error the app behind has it; status is 0 if
// there was no answer.
func (e *Engine) attempt(settings Settings, d webhookqueue.Delivery) (status int, err error) {
	ctx, cancel := context.WithTimeout(e.working, settings.Timeout)
	defer cancel()
	request, err := e.request(ctx, settings.URL, d)
	if err != nil {
		return 0, err
	}
	response, err := e.client.Do(request)
	if err != nil {
		return 0, withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	if response.StatusCode/100 != 2 {
		return response.StatusCode, fmt.Errorf("the app behind answered %d", response.StatusCode)
	}
	return response.StatusCode, nil
}

// withoutURL leaves the address out of an error: it may have a query that is
// nobody's business.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func (e *Engine) request(ctx context.Context, address string, d webhookqueue.Delivery) (*http.Request, error) {
	m := d.Message()
	body, contentType := webhook.Body(m)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, withoutURL(err)
	}
	h := request.Header
	h.Set("User-Agent", "caddy-hubspot")
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	h.Set(HeaderDelivery, m.ID)
	h.Set(HeaderAttempt, strconv.Itoa(d.Attempt()))
	h.Set(HeaderApp, m.App)
	if m.Portal == 0 {
		return request, nil
	}
	h.Set(HeaderPortal, strconv.FormatInt(m.Portal, 10))
	users, err := e.Users(ctx, m.App, m.Portal)
	if err != nil {
		return nil, err
	}
	if len(users) == 0 && d.Attempt() == 1 {
		e.Observer.UnknownPortal(m.App)
	}
	setUsers(h, users)
	return request, nil
}

func setUsers(h http.Header, users []string) {
	encoded := make([]string, len(users))
	for i, user := range users {
		encoded[i] = strings.ReplaceAll(url.PathEscape(user), "+", "%2B")
	}
	value := strings.Join(encoded, ",")
	if len(value) > maxUsersHeader {
		h.Set(HeaderUsersOmitted, strconv.Itoa(len(users)))
		return
	}
	h.Set(HeaderUsers, value)
}
