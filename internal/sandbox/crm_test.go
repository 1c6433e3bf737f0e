package sandbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

const contacts = "/crm/objects/2026-09/contacts"

func noQuota(o *sandbox.Options) { o.DisableQuota = true }

func TestAuthenticationErrors(t *testing.T) {
	r := newRig(t, nil)
	got := r.connect()
	const missing = `"message":"Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"`
	check := func(t *testing.T, a answer, want ...string) {
		t.Helper()
		a.want(http.StatusUnauthorized).has(append(want, `"status":"error"`)...)
		if id := a.header.Get("X-HubSpot-Correlation-Id"); id == "" || a.at("correlationId") != id {
			t.Errorf("correlation id %q in the header, %v in the body", id, a.at("correlationId"))
		}
	}
	for name, header := range map[string][]string{
		"none": nil, "basic": {"Authorization", "Basic eDp5"},
		"empty": {"Authorization", "Bearer "}, "no scheme": {"Authorization", got.access},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, r.do("GET", contacts, "", header...), missing, `"category":"INVALID_AUTHENTICATION"`)
		})
	}
	t.Run("junk", func(t *testing.T) {
		// 2026-11-23 is day 20780 of the epoch.
		check(t, r.api("GET", contacts, "junk", ""), "expired 20780 day(s) ago.",
			`"context":{"expire time":["1970-01-01T00:00:00Z"]}`, `"category":"EXPIRED_AUTHENTICATION"`)
	})
	t.Run("scheme in any case", func(t *testing.T) {
		r.do("GET", contacts, "", "Authorization", "bearer "+got.access).want(200)
	})
	for _, step := range []struct {
		advance time.Duration
		ago     string
	}{
		{30 * time.Minute, "0 second(s)"},
		{75 * time.Second, "75 second(s)"},
		{28*time.Minute + 45*time.Second, "30 minute(s)"},
	} {
		t.Run(step.ago, func(t *testing.T) {
			r.clock.advance(step.advance)
			check(t, r.api("GET", contacts, got.access, ""),
				"The OAuth token used to make this call expired "+step.ago+" ago.",
				`"context":{"expire time":["2026-11-23T12:30:00Z"]}`, `"category":"EXPIRED_AUTHENTICATION"`)
		})
	}
}

func TestScopesAreEnforced(t *testing.T) {
	r := newRig(t, noQuota)
	token := r.connect("optional_scope", "crm.objects.companies.read").access
	for _, tt := range []struct{ method, path, scope string }{
		{"GET", "/crm/v3/objects/deals", "crm.objects.deals.read"},
		{"GET", "/crm/objects/2026-09/deals/1", "crm.objects.deals.read"},
		{"POST", "/crm/objects/2026-09/deals/search", "crm.objects.deals.read"},
		{"POST", "/crm/objects/2026-09/deals/batch/read", "crm.objects.deals.read"},
		{"POST", "/crm/objects/2026-09/contacts", "crm.objects.contacts.write"},
		{"PATCH", "/crm/objects/2026-09/contacts/101", "crm.objects.contacts.write"},
		{"DELETE", "/crm/objects/2026-03/contacts/101", "crm.objects.contacts.write"},
		{"POST", "/crm/v3/objects/companies/batch/create", "crm.objects.companies.write"},
		{"POST", "/crm/v3/objects/0-2/batch/update", "crm.objects.companies.write"},
		{"POST", "/crm/v3/objects/companies/batch/upsert", "crm.objects.companies.write"},
		{"POST", "/crm/v3/objects/companies/batch/archive", "crm.objects.companies.write"},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			a := r.api(tt.method, tt.path, token, "{}").want(http.StatusForbidden)
			want := fmt.Sprintf(`{"status":"error","message":"This app hasn't been granted all required scopes to make this call. Read more about required scopes here: https://developers.hubspot.com/scopes.","correlationId":%q,"errors":[{"message":"One or more of the following scopes are required.","context":{"requiredGranularScopes":[%q]}}],"links":{"scopes":"https://developers.hubspot.com/scopes"},"category":"MISSING_SCOPES"}`,
				a.header.Get("X-HubSpot-Correlation-Id"), tt.scope)
			if a.body != want {
				t.Errorf("got  %s\nwant %s", a.body, want)
			}
		})
	}
	r.api("GET", contacts, token, "").want(200)
	r.api("GET", "/crm/v3/objects/company", token, "").want(200)
}

func TestUnknownPaths(t *testing.T) {
	r := newRig(t, noQuota)
	token := r.connect().access
	for _, path := range []string{
		"/nothing", "/crm/objects/2026-09", "/crm/objects/2025-01/contacts", "/crm/objects/v3/contacts",
		"/crm//objects/2026-09/contacts", "/crm/objects/./2026-09/contacts", "/account-info/v4/details", "/_sandbox/nothing",
	} {
		a := r.api("GET", path, token, "").want(http.StatusNotFound).has(`"message":"resource not found"`)
		if a.at("correlationId") != a.header.Get("X-HubSpot-Correlation-Id") {
			t.Errorf("%s: correlation ids differ", path)
		}
	}
	r.api("GET", "/crm/v3/objects/widgets", token, "").want(http.StatusBadRequest).has("Unable to infer object type from: widgets")
	a := r.api("PUT", contacts, token, "").want(http.StatusMethodNotAllowed)
	if got := a.header.Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow %q", got)
	}
}

func TestListPages(t *testing.T) {
	r := newRig(t, noQuota)
	token := r.connect().access
	for _, base := range []string{contacts, "/crm/objects/2026-03/contacts", "/crm/v3/objects/contacts", "/crm/v3/objects/0-1"} {
		t.Run(base, func(t *testing.T) {
			seen, next := map[any]bool{}, base+"?limit=70&properties=email,phone&properties=nonsense"
			for pages := 1; ; pages++ {
				a := r.api("GET", next, token, "").want(200)
				for _, result := range a.at("results").([]any) {
					o := result.(map[string]any)
					props := o["properties"].(map[string]any)
					if seen[o["id"]] {
						t.Fatalf("%v came twice", o["id"])
					}
					seen[o["id"]] = true
					if len(props) != 5 || props["email"] == nil || props["hs_object_id"] != o["id"] {
						t.Fatalf("properties %v", props)
					}
				}
				if a.at("paging") == nil {
					if pages != 5 {
						t.Errorf("%d pages", pages)
					}
					break
				}
				link, err := url.Parse(a.at("paging.next.link").(string))
				if err != nil || "http://"+link.Host != r.url || link.Query().Get("after") != a.at("paging.next.after") {
					t.Fatalf("link %v", link)
				}
				next = link.RequestURI()
			}
			if len(seen) != 300 {
				t.Errorf("%d contacts, want 300", len(seen))
			}
		})
	}
	t.Run("defaults", func(t *testing.T) {
		a := r.api("GET", contacts, token, "").want(200)
		if n := len(a.at("results").([]any)); n != 10 {
			t.Errorf("%d results", n)
		}
		if props := a.at("results.0.properties").(map[string]any); len(props) != 6 || props["lastname"] == nil {
			t.Errorf("properties %v", props)
		}
		if a.header.Get("Content-Type") != "application/json;charset=utf-8" {
			t.Errorf("header %v", a.header)
		}
	})
	t.Run("bad parameters", func(t *testing.T) {
		for _, query := range []string{"limit=0", "limit=101", "limit=x", "after=x", "after=-1"} {
			r.api("GET", contacts+"?"+query, token, "").want(400).has("VALIDATION_ERROR")
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		if a := r.api("HEAD", contacts, token, "").want(200); a.body != "" {
			t.Error("has a body")
		}
	})
}

func TestSeedIsTheSameEveryTime(t *testing.T) {
	read := func() (string, string) {
		r := newRig(t, noQuota)
		first := r.connect()
		second := r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID))
		path := contacts + "?limit=100&properties=email,company,city"
		return r.api("GET", path, first.access, "").want(200).body, r.api("GET", path, second.access, "").want(200).body
	}
	strip := func(s string) string { return s[:strings.Index(s, `"paging"`)] } // the link has the server's port
	a1, b1 := read()
	a2, _ := read()
	if strip(a1) != strip(a2) {
		t.Error("two sandboxes have different data")
	}
	if strip(a1) == strip(b1) {
		t.Error("two portals have the same data")
	}
	if !strings.Contains(a1, "@example.com") {
		t.Error("addresses are not at example.com")
	}
}

func TestObjectLife(t *testing.T) {
	r := newRig(t, noQuota)
	token := r.connect().access
	created := r.api("POST", contacts, token, `{"properties":{"email":"New.Person@Example.com","firstname":"New","hs_lead_status":"NEW","zip":12345}}`).want(http.StatusCreated)
	id := created.at("id").(string)
	if created.at("properties.email") != "new.person@example.com" || created.at("properties.zip") != "12345" ||
		created.at("properties.hs_object_id") != id || created.at("createdAt") != "2026-11-23T12:00:00Z" || created.at("archived") != false {
		t.Errorf("created %s", created.body)
	}
	path := contacts + "/" + id
	byEmail := contacts + "/" + url.PathEscape("new.person@example.com") + "?idProperty=email"

	t.Run("get", func(t *testing.T) {
		r.api("GET", path+"?properties=firstname,city", token, "").want(200).has(`"firstname":"New"`, `"city":null`)
		if got := r.api("GET", byEmail, token, "").want(200).at("id"); got != id {
			t.Errorf("by e-mail: %v", got)
		}
		r.api("GET", path+"?idProperty=phone", token, "").want(400).has("not a unique property")
	})
	t.Run("conflict", func(t *testing.T) {
		a := r.api("POST", contacts, token, `{"properties":{"email":"new.person@example.com"}}`).want(http.StatusConflict)
		if a.at("message") != "Contact already exists. Existing ID: "+id || a.at("category") != "CONFLICT" {
			t.Errorf("body %s", a.body)
		}
		r.api("PATCH", contacts+"/101", token, `{"properties":{"email":"new.person@example.com"}}`).want(http.StatusConflict)
	})
	t.Run("update", func(t *testing.T) {
		r.clock.advance(1500 * time.Millisecond)
		a := r.api("PATCH", path, token, `{"properties":{"city":"Cork","firstname":""}}`).want(200)
		if a.at("properties.city") != "Cork" || a.at("updatedAt") != "2026-11-23T12:00:01.500Z" || a.at("createdAt") != "2026-11-23T12:00:00Z" {
			t.Errorf("body %s", a.body)
		}
		r.api("GET", path, token, "").want(200).has(`"firstname":null`)
		r.api("PATCH", path, token, `{"properties":{"email":"new.person@example.com"}}`).want(200)
		r.api("PATCH", byEmail, token, `{"properties":{"email":"else@example.com"}}`).want(200)
		r.api("GET", byEmail, token, "").want(404)
		r.api("POST", contacts, token, `{"properties":{"email":"new.person@example.com"}}`).want(201)
	})
	t.Run("archive", func(t *testing.T) {
		r.api("DELETE", path, token, "").want(http.StatusNoContent)
		a := r.api("GET", path, token, "").want(http.StatusNotFound)
		if a.at("category") != "OBJECT_NOT_FOUND" || a.at("context.id.0") != id || a.at("message") != "Object not found.  objectId are usually numeric." {
			t.Errorf("body %s", a.body)
		}
		r.api("GET", path+"?archived=true", token, "").want(200).has(`"archived":true`, `"archivedAt":"2026-11-23`)
		r.api("GET", contacts+"?archived=true", token, "").want(200).has(`"id":"` + id + `"`)
		r.api("PATCH", path, token, `{"properties":{"city":"Bremen"}}`).want(404)
		r.api("DELETE", path, token, "").want(404)
		r.api("POST", contacts, token, `{"properties":{"email":"else@example.com"}}`).want(201)
	})
	t.Run("not there", func(t *testing.T) {
		for _, missing := range []string{"99999999", "abc", "a%2Fb", "all"} {
			r.api("GET", contacts+"/"+missing, token, "").want(404).has("OBJECT_NOT_FOUND")
		}
	})
}

func TestWritesAreValidated(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		noQuota(o)
		o.CustomProperties = map[string][]string{"contacts": {"plan_name"}}
	})
	token := r.connect().access
	tests := []struct{ name, kind, body, code, message string }{
		{"unknown property", "contacts", `{"properties":{"email":"a@example.com","nope":"x"}}`, "PROPERTY_DOESNT_EXIST", `Property "nope" does not exist`},
		{"read-only property", "contacts", `{"properties":{"email":"a@example.com","hs_object_id":"1"}}`, "READ_ONLY_VALUE", "read only"},
		{"bad e-mail", "contacts", `{"properties":{"email":"nope"}}`, "INVALID_EMAIL", "Email address nope is invalid"},
		{"e-mail with a name", "contacts", `{"properties":{"email":"A <a@example.com>"}}`, "INVALID_EMAIL", "is invalid"},
		{"bad option", "deals", `{"properties":{"dealname":"x","dealstage":"won"}}`, "INVALID_OPTION", "won was not one of the allowed options: ["},
		{"bad number", "deals", `{"properties":{"dealname":"x","amount":"much"}}`, "INVALID_INTEGER", "much was not a valid number"},
		{"bad time", "deals", `{"properties":{"dealname":"x","closedate":"soon"}}`, "INVALID_LONG", "soon was not a valid long."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := r.api("POST", "/crm/v3/objects/"+tt.kind, token, tt.body).want(http.StatusBadRequest)
			if a.at("category") != "VALIDATION_ERROR" || a.at("errors.0.code") != tt.code || a.at("errors.0.context.propertyName.0") == nil {
				t.Errorf("body %s", a.body)
			}
			message := a.at("message").(string)
			if !strings.HasPrefix(message, `Property values were not valid: [{"isValid":false,`) || !strings.Contains(a.at("errors.0.message").(string), tt.message) {
				t.Errorf("message %s", message)
			}
		})
	}
	t.Run("nothing that identifies it", func(t *testing.T) {
		r.api("POST", contacts, token, `{"properties":{"city":"Cork"}}`).want(400).has("VALIDATION_ERROR", "email, firstname, lastname")
		r.api("POST", contacts, token, ``).want(400).has("Invalid input JSON on line 1, column 1")
	})
	t.Run("custom property", func(t *testing.T) {
		r.api("POST", contacts, token, `{"properties":{"firstname":"P","plan_name":"gold"}}`).want(201).has(`"plan_name":"gold"`)
		r.api("POST", "/crm/v3/objects/companies", token, `{"properties":{"name":"P","plan_name":"gold"}}`).want(400)
	})
	t.Run("values that are not text", func(t *testing.T) {
		r.api("POST", contacts, token, `{"properties":{"firstname":true,"zip":[1,"a"],"city":null,"company":1.50}}`).want(201).
			has(`"firstname":"true"`, `"zip":"[1,\"a\"]"`, `"company":"1.50"`)
	})
	t.Run("times", func(t *testing.T) {
		r.api("POST", "/crm/v3/objects/deals", token, `{"properties":{"dealname":"x","closedate":1764000000000}}`).want(201).has(`"closedate":"2025-11-24T16:00:00Z"`)
	})
	t.Run("broken JSON", func(t *testing.T) {
		r.api("POST", contacts, token, "{\n\"properties\":[").want(400).has("Invalid input JSON on line 2, column")
		r.api("POST", contacts, token, `{"properties":"x"}`).want(400).has("Invalid input JSON")
	})
	t.Run("content type", func(t *testing.T) {
		r.do("POST", contacts, `{"properties":{"firstname":"x"}}`, "Authorization", "Bearer "+token, "Content-Type", form).want(http.StatusUnsupportedMediaType)
		r.do("POST", contacts, `{"properties":{"firstname":"x"}}`, "Authorization", "Bearer "+token, "Content-Type", "application/json; charset=utf-8").want(201)
	})
}

func TestBatches(t *testing.T) {
	r := newRig(t, noQuota)
	token := r.connect().access
	batch := func(op, body string) answer { return r.api("POST", contacts+"/batch/"+op, token, body) }

	t.Run("create", func(t *testing.T) {
		a := batch("create", `{"inputs":[{"properties":{"email":"b1@example.com"}},{"properties":{"email":"b2@example.com"}}]}`).want(201)
		if a.at("status") != "COMPLETE" || len(a.at("results").([]any)) != 2 || a.at("startedAt") == nil || a.at("completedAt") == nil || a.at("errors") != nil {
			t.Errorf("body %s", a.body)
		}
	})
	t.Run("create all or none", func(t *testing.T) {
		batch("create", `{"inputs":[{"properties":{"email":"b3@example.com"}},{"properties":{"email":"b1@example.com"}}]}`).want(409).has("Contact already exists")
		batch("create", `{"inputs":[{"properties":{"email":"b3@example.com"}},{"properties":{"email":"b3@example.com"}}]}`).want(400)
		batch("create", `{"inputs":[{"properties":{"email":"b3@example.com"}},{"properties":{"nope":"1"}}]}`).want(400)
		r.api("GET", contacts+"/b3@example.com?idProperty=email", token, "").want(404)
	})
	t.Run("create with trace ids", func(t *testing.T) {
		a := batch("create", `{"inputs":[{"objectWriteTraceId":"t1","properties":{"email":"b4@example.com"}},{"objectWriteTraceId":"t2","properties":{"email":"b1@example.com"}},{"objectWriteTraceId":"t3","properties":{"nope":"1"}}]}`).want(http.StatusMultiStatus)
		if a.at("numErrors") != 2.0 || a.at("results.0.objectWriteTraceId") != "t1" || a.at("errors.0.category") != "CONFLICT" ||
			a.at("errors.0.context.objectWriteTraceId.0") != "t2" || a.at("errors.1.category") != "VALIDATION_ERROR" || a.at("errors.1.status") != "error" {
			t.Errorf("body %s", a.body)
		}
	})
	t.Run("read", func(t *testing.T) {
		a := batch("read", `{"properties":["email"],"propertiesWithHistory":[],"inputs":[{"id":"101"},{"id":102}]}`).want(200)
		if len(a.at("results").([]any)) != 2 || a.at("results.0.properties.email") == nil {
			t.Errorf("body %s", a.body)
		}
		a = batch("read", `{"inputs":[{"id":"101"},{"id":"777777"}]}`).want(207)
		if a.at("errors.0.category") != "OBJECT_NOT_FOUND" || a.at("errors.0.context.ids.0") != "777777" || len(a.at("results").([]any)) != 1 {
			t.Errorf("body %s", a.body)
		}
		batch("read", `{"idProperty":"email","inputs":[{"id":"b1@example.com"}]}`).want(200)
		batch("read", `{"idProperty":"phone","inputs":[{"id":"1"}]}`).want(400)
	})
	t.Run("update", func(t *testing.T) {
		a := batch("update", `{"inputs":[{"id":"101","properties":{"city":"Cork"}},{"id":"777777","properties":{"city":"Cork"}},{"id":"102","properties":{"email":"b1@example.com"}}]}`).want(207)
		if a.at("results.0.properties.city") != "Cork" || a.at("numErrors") != 2.0 || a.at("errors.0.category") != "CONFLICT" {
			t.Errorf("body %s", a.body)
		}
		batch("update", `{"inputs":[{"id":"101","properties":{"nope":"Cork"}}]}`).want(400)
	})
	t.Run("upsert", func(t *testing.T) {
		a := batch("upsert", `{"inputs":[{"idProperty":"email","id":"b1@example.com","properties":{"city":"Faro"}},{"idProperty":"email","id":"B9@example.com","properties":{"city":"Faro"}}]}`).want(200)
		if a.at("results.0.new") != false || a.at("results.1.new") != true || a.at("results.1.properties.email") != "b9@example.com" {
			t.Errorf("body %s", a.body)
		}
		batch("upsert", `{"inputs":[{"id":"1","properties":{}},{"idProperty":"hs_object_id","id":"777777","properties":{}},{"idProperty":"email","id":"nope","properties":{}}]}`).
			want(207).has(`"numErrors":3`)
	})
	t.Run("archive", func(t *testing.T) {
		batch("archive", `{"inputs":[{"id":"110"},{"id":"777777"}]}`).want(204)
		r.api("GET", contacts+"/110", token, "").want(404)
	})
	t.Run("size", func(t *testing.T) {
		batch("read", `{"inputs":[]}`).want(400)
		inputs := strings.Repeat(`{"id":"101"},`, 100)
		batch("read", `{"inputs":[`+strings.TrimSuffix(inputs, ",")+`]}`).want(200)
		batch("read", `{"inputs":[`+inputs+`{"id":"101"}]}`).want(400).has("at most 100")
	})
}

func TestPortalsAreSeparate(t *testing.T) {
	r := newRig(t, nil)
	one := r.connect().access
	two := r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID)).access
	id := r.api("POST", contacts, one, `{"properties":{"email":"only.here@example.com"}}`).want(201).at("id").(string)
	r.api("GET", contacts+"/"+id, two, "").want(404)
	r.api("POST", contacts, two, `{"properties":{"email":"only.here@example.com"}}`).want(201)
}

func TestAccountDetails(t *testing.T) {
	r := newRig(t, nil)
	token := r.connect("_sandbox_approve", hub(sandbox.DemoLimitedHubID)).access
	for _, version := range []string{"v3", "2026-03", "2026-09"} {
		a := r.api("GET", "/account-info/"+version+"/details", token, "").want(200)
		if a.at("portalId") != float64(sandbox.DemoLimitedHubID) || a.at("dataHostingLocation") != "eu1" || a.at("uiDomain") != "app-eu1.hubspot.com" || len(a.json()) != 9 {
			t.Errorf("body %s", a.body)
		}
	}
	if s := r.box.Stats().Portals; len(s) != 1 || s[0].Requests != 3 || s[0].Statuses[strconv.Itoa(200)] != 3 {
		t.Errorf("stats %+v", s)
	}
}
