package sandbox_test

import (
	"net/http"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

func TestUserLevelApp(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		app := sandbox.DemoApp()
		app.UserLevel = true
		o.Apps = []sandbox.App{app}
	})
	ann, bob := r.exchange(r.code("_sandbox_person", "101")), r.exchange(r.code("_sandbox_person", "102"))
	again := r.exchange(r.code("_sandbox_person", "101"))
	if ann.refresh == bob.refresh || ann.refresh != again.refresh {
		t.Error("want a grant for each person")
	}
	about := r.post(tokenPath+"/introspect", "token", bob.access).want(200)
	if about.at("user_id") != 102.0 || about.at("user") != "user-102@acme.example.com" || about.at("signed_access_token.isUserLevel") != true {
		t.Errorf("bob is %s", about.body)
	}
	if owner := r.post(tokenPath+"/introspect", "token", r.exchange(r.code()).access).want(200); owner.at("user") != "alex.admin@acme.example.com" {
		t.Errorf("nobody in particular is %s", owner.body)
	}
	r.api("GET", "/crm/objects/2026-09/contacts", ann.access, "").want(200)
	const refusal = `"message":"User level OAuth token is not allowed for this endpoint."`
	r.api("DELETE", "/crm/objects/2026-09/contacts/1", ann.access, "").want(http.StatusForbidden).has(refusal, "correlationId")
	r.api("DELETE", "/appinstalls/2026-09/external-install", ann.access, "").want(http.StatusForbidden).has(refusal)
	r.do("GET", authorizePath("_sandbox_approve", hub(sandbox.DemoHubID), "_sandbox_person", "-1"), "").want(http.StatusBadRequest)
	r.post(tokenPath+"/revoke", "token", bob.refresh).want(200)
	r.refresh(bob.refresh).want(400)
	r.refresh(ann.refresh).want(200)
}

func TestAccountLevelAppsHaveOneGrant(t *testing.T) {
	r := newRig(t, nil)
	ann, bob := r.exchange(r.code("_sandbox_person", "101")), r.exchange(r.code("_sandbox_person", "102"))
	if ann.refresh != bob.refresh {
		t.Error("want one grant of the account")
	}
	about := r.post(tokenPath+"/introspect", "token", bob.access).want(200)
	if about.at("signed_access_token.isUserLevel") != false {
		t.Errorf("introspection: %s", about.body)
	}
	r.api("DELETE", "/crm/objects/2026-09/contacts/1", ann.access, "").want(http.StatusNotFound)
}
