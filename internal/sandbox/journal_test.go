package sandbox_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const journalBase = "/webhooks-journal/journal/2026-09"

// appToken is a token of the demo app itself.
func (r *rig) appToken(scopes string) string {
	r.t.Helper()
	token, _ := r.post(tokenPath, "grant_type", "client_credentials", "scope", scopes).want(200).json()["access_token"].(string)
	return token
}

const journalScopes = "developer.webhooks_journal.read developer.webhooks_journal.subscriptions.read developer.webhooks_journal.subscriptions.write"

// subscribed is a token of an app that is subscribed to its life.
func (r *rig) subscribed() string {
	r.t.Helper()
	token := r.appToken(journalScopes)
	for _, id := range []string{"4-1909196", "4-1916193"} {
		r.api("POST", "/webhooks-journal/subscriptions/2026-09", token, `{"subscriptionType":"APP_LIFECYCLE_EVENT","eventTypeId":"`+id+`","properties":[]}`).want(201)
	}
	return token
}

// entries are those of a batch.
func (r *rig) entries(path, token string) (offsets, links []string) {
	r.t.Helper()
	results, _ := r.api("GET", journalBase+path, token, "").want(200).json()["results"].([]any)
	for _, result := range results {
		entry, _ := result.(map[string]any)
		offset, _ := entry["currentOffset"].(string)
		link, _ := entry["url"].(string)
		offsets, links = append(offsets, offset), append(links, link)
	}
	return offsets, links
}

func TestJournal(t *testing.T) {
	r := newRig(t, nil)
	token := r.subscribed()
	r.api("GET", journalBase+"/earliest", token, "").want(204)
	hub := r.connect()
	r.fault(`{"uninstall":{}}`)
	offsets, links := r.entries("/batch/earliest/10", token)
	if len(offsets) != 2 {
		t.Fatalf("%d entries; want an install and an uninstall", len(offsets))
	}
	for i, want := range []string{"APP_INSTALL", "APP_UNINSTALL"} {
		path := strings.TrimPrefix(links[i], r.url)
		r.do("GET", path, "").want(200).has(want).has(`"hs_app_install_level":"PORTAL"`).has(offsets[i])
		r.api("GET", path, token, "").want(400).has("Only one auth mechanism")
		r.do("GET", path+"x", "").want(403)
	}
	if next, _ := r.entries("/batch/"+offsets[0]+"/next/10", token); len(next) != 1 || next[0] != offsets[1] {
		t.Errorf("after the first: %v", next)
	}
	if next, _ := r.entries("/batch/"+offsets[1]+"/next/100", token); len(next) != 0 {
		t.Errorf("after the last: %v", next)
	}
	r.api("GET", journalBase+"/offset/"+offsets[0]+"/next", token, "").want(200).has(offsets[1])
	r.api("GET", journalBase+"/offset/"+offsets[1]+"/next", token, "").want(204)
	r.api("GET", journalBase+"/batch/earliest/101", token, "").want(400)
	r.api("POST", journalBase+"/batch/read", token, `{"inputs":["`+offsets[1]+`"]}`).want(200).has(offsets[1])
	r.api("POST", journalBase+"/batch/read", token, `{"inputs":["`+offsets[1]+`","gone"]}`).want(207).has("not known")
	r.api("GET", journalBase+"/earliest", hub.access, "").want(401)
	r.clock.advance(6 * time.Minute)
	r.do("GET", strings.TrimPrefix(links[0], r.url), "").want(403).has("expired")
}

func TestJournalNeedsItsScopes(t *testing.T) {
	r := newRig(t, nil)
	r.api("GET", journalBase+"/earliest", r.connect().access, "").want(403).has("MISSING_SCOPES")
	r.api("GET", journalBase+"/earliest", r.appToken("developer.webhooks_journal.subscriptions.read"), "").want(403).has("developer.webhooks_journal.read")
	r.api("GET", "/webhooks-journal/journal/v4/earliest", r.appToken(journalScopes), "").want(404)
}

// TestJournalOfNobody: without a subscription nothing is written.
func TestJournalOfNobody(t *testing.T) {
	r := newRig(t, nil)
	r.connect()
	r.fault(`{"uninstall":{}}`)
	if offsets, _ := r.entries("/batch/earliest/10", r.subscribed()); len(offsets) != 0 {
		t.Errorf("%d entries from before the subscription", len(offsets))
	}
}

func TestJournalFaults(t *testing.T) {
	r := newRig(t, nil)
	token := r.subscribed()
	r.connect()
	offsets, links := r.entries("/batch/earliest/10", token)
	r.fault(`{"journal":{"files_away":true}}`)
	r.do("GET", strings.TrimPrefix(links[0], r.url), "").want(403)
	r.fault(`{"journal":{"files_away":false},"api":{"path_prefix":"/webhooks-journal","answer":"server_error","times":1}}`)
	r.api("GET", journalBase+"/earliest", token, "").want(http.StatusInternalServerError)
	r.do("GET", strings.TrimPrefix(links[0], r.url), "").want(200)
	r.fault(`{"journal":{"lose":true}}`)
	r.api("GET", journalBase+"/offset/"+offsets[0]+"/next", token, "").want(404)

	r.connect()
	r.fault(`{"uninstall":{}}`)
	offsets, _ = r.entries("/batch/latest/1", token)
	r.clock.advance(73 * time.Hour)
	r.api("GET", journalBase+"/offset/"+offsets[0]+"/next", r.appToken(journalScopes), "").want(404)
}

func TestSubscriptions(t *testing.T) {
	r := newRig(t, nil)
	token := r.subscribed()
	r.subscribed()
	list := r.api("GET", "/webhooks-journal/subscriptions/2026-09", token, "").want(200)
	if results, _ := list.json()["results"].([]any); len(results) != 2 {
		t.Errorf("%d subscriptions after subscribing twice", len(results))
	}
	r.api("DELETE", "/webhooks-journal/subscriptions/2026-09/1", token, "").want(204)
	r.api("DELETE", "/webhooks-journal/subscriptions/2026-09/1", token, "").want(404)
	r.api("POST", "/webhooks-journal/subscriptions/2026-09", token, `{"subscriptionType":"OBJECT"}`).want(400).has("APP_LIFECYCLE_EVENT")
}
