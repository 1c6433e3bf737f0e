package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// What changes in the CRM is told to the apps that are installed.
func TestWebhooks(t *testing.T) {
	told := make(chan []map[string]any, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var events []map[string]any
		_ = json.Unmarshal(body, &events)
		told <- events
	}))
	defer app.Close()
	r := newRig(t, func(o *sandbox.Options) { o.WebhooksURL = app.URL })
	t.Cleanup(r.box.Close)
	next := func() []map[string]any {
		t.Helper()
		select {
		case events := <-told:
			return events
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was told")
			return nil
		}
	}
	want := func(kind, property, value, source string) float64 {
		t.Helper()
		events := next()
		if len(events) != 1 {
			t.Fatalf("told %v; want one event", events)
		}
		e := events[0]
		got := []any{e["subscriptionType"], e["propertyName"], e["propertyValue"], e["changeSource"], e["portalId"]}
		for i, want := range []string{kind, property, value, source} {
			if text, _ := got[i].(string); text != want {
				t.Errorf("told %v; want %s %s %s by %s", e, kind, property, value, source)
			}
		}
		if e["portalId"] != float64(sandbox.DemoHubID) || e["attemptNumber"] != 0.0 {
			t.Errorf("told %v; want the portal's", e)
		}
		id, _ := e["objectId"].(float64)
		return id
	}
	token := r.connect().access
	created := r.api("POST", contacts, token, `{"properties":{"email":"new@example.com"}}`).want(201)
	id, _ := created.at("id").(string)
	if got := want("contact.creation", "", "", "INTEGRATION"); strconv.FormatFloat(got, 'f', 0, 64) != id {
		t.Errorf("told of object %v; want %s", got, id)
	}
	r.do("PATCH", contacts+"/"+id, `{"properties":{"firstname":"Ada","email":"new@example.com"}}`,
		"Authorization", "Bearer "+token, "Content-Type", "application/json", "X-Sandbox-Change-Source", "CRM_UI").want(200)
	want("contact.propertyChange", "firstname", "Ada", "CRM_UI")
	r.api("DELETE", contacts+"/"+id, token, "").want(204)
	want("contact.deletion", "", "", "INTEGRATION")
	batch := r.api("POST", contacts+"/batch/create", token,
		`{"inputs":[{"properties":{"email":"a@example.com"}},{"properties":{"email":"b@example.com"}}]}`).want(201)
	if events := next(); len(events) != 2 || batch.at("status") != "COMPLETE" {
		t.Errorf("told %v; want two events at once", events)
	}
	r.do("GET", "/_sandbox/webhooks", "").want(200).has(`"target_url"`)
	r.do("POST", "/_sandbox/webhooks", `{"target_url":"nowhere"}`).want(400).has("target_url")
	r.do("POST", "/_sandbox/webhooks", `{"client_id":"nobody"}`).want(400).has("there is no app")
	r.do("POST", "/_sandbox/faults", `{"webhooks":{"duplicate":true,"times":1}}`).want(200)
	r.api("POST", contacts, token, `{"properties":{"email":"c@example.com"}}`).want(201)
	if first, second := next()[0], next()[0]; first["eventId"] != second["eventId"] {
		t.Errorf("told %v and %v; want one event twice", first, second)
	}
	// Who is told nothing gets nothing, and neither does who has uninstalled.
	r.do("POST", "/_sandbox/webhooks", `{"target_url":""}`).want(200).has(`"targets":{}`)
	r.api("POST", contacts, token, `{"properties":{"email":"d@example.com"}}`).want(201)
	if len(told) != 0 {
		t.Errorf("told %v; want nothing", <-told)
	}
}
