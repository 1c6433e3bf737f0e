package sandbox_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// searchRig has an account without seeds and four deals and contacts.
func searchRig(t *testing.T) (*rig, string) {
	r := newRig(t, func(o *sandbox.Options) {
		noQuota(o)
		o.Portals = []sandbox.Portal{{HubID: sandbox.DemoHubID, Contacts: -1}}
	})
	token := r.connect().access
	for _, props := range []string{
		`"dealname":"Alpha roll-out","amount":"100","closedate":"2026-01-10","dealstage":"closedwon"`,
		`"dealname":"Beta pilot","amount":"99.5","closedate":"2026-02-10T12:00:00Z","dealstage":"closedlost"`,
		`"dealname":"alpha renewal","amount":"1000","closedate":"2026-03-10"`,
		`"dealname":"Gamma","description":"the alpha one"`,
	} {
		r.api("POST", "/crm/v3/objects/deals", token, `{"properties":{`+props+`}}`).want(201)
	}
	for _, email := range []string{"ann@north.example.com", "bob@south.example.com", "ann.b@south.example.org"} {
		r.api("POST", contacts, token, `{"properties":{"email":"`+email+`"}}`).want(201)
	}
	return r, token
}

// names are the first letters of the deals found, in order.
func names(a answer) string {
	a.t.Helper()
	var out []string
	for _, result := range a.want(200).at("results").([]any) {
		out = append(out, result.(map[string]any)["properties"].(map[string]any)["dealname"].(string)[:2])
	}
	return strings.Join(out, " ")
}

func TestSearchOperators(t *testing.T) {
	r, token := searchRig(t)
	tests := []struct{ name, filter, want string }{
		{"EQ ignores case of text", `"propertyName":"dealname","operator":"EQ","value":"gamma"`, "Ga"},
		{"EQ of numbers", `"propertyName":"amount","operator":"EQ","value":100.0`, "Al"},
		{"EQ of options is exact", `"propertyName":"dealstage","operator":"EQ","value":"ClosedWon"`, ""},
		{"EQ of times", `"propertyName":"closedate","operator":"EQ","value":"1768003200000"`, "Al"},
		{"NEQ wants a value", `"propertyName":"dealstage","operator":"NEQ","value":"closedwon"`, "Be"},
		{"LT", `"propertyName":"amount","operator":"LT","value":"100"`, "Be"},
		{"LTE", `"propertyName":"amount","operator":"LTE","value":"100"`, "Al Be"},
		{"GT is numeric", `"propertyName":"amount","operator":"GT","value":"99.5"`, "Al al"},
		{"GTE", `"propertyName":"amount","operator":"GTE","value":"1000"`, "al"},
		{"BETWEEN", `"propertyName":"amount","operator":"BETWEEN","value":"99.5","highValue":"100"`, "Al Be"},
		{"BETWEEN times", `"propertyName":"closedate","operator":"BETWEEN","value":"2026-02-01","highValue":"1773100800000"`, "Be al"},
		{"IN", `"propertyName":"dealstage","operator":"IN","values":["closedwon","closedlost"]`, "Al Be"},
		{"NOT_IN", `"propertyName":"dealstage","operator":"NOT_IN","values":["closedlost"]`, "Al"},
		{"HAS_PROPERTY", `"propertyName":"amount","operator":"HAS_PROPERTY"`, "Al Be al"},
		{"NOT_HAS_PROPERTY", `"propertyName":"amount","operator":"NOT_HAS_PROPERTY"`, "Ga"},
		{"CONTAINS_TOKEN", `"propertyName":"dealname","operator":"CONTAINS_TOKEN","value":"ALPHA"`, "Al al"},
		{"CONTAINS_TOKEN is about words", `"propertyName":"dealname","operator":"CONTAINS_TOKEN","value":"alph"`, ""},
		{"CONTAINS_TOKEN with wildcard", `"propertyName":"dealname","operator":"CONTAINS_TOKEN","value":"*lo*"`, "Be"},
		{"CONTAINS_TOKEN with many words", `"propertyName":"dealname","operator":"CONTAINS_TOKEN","value":"out alpha"`, "Al"},
		{"NOT_CONTAINS_TOKEN", `"propertyName":"dealname","operator":"NOT_CONTAINS_TOKEN","value":"alpha"`, "Be Ga"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := r.api("POST", "/crm/objects/2026-09/deals/search", token, `{"filterGroups":[{"filters":[{`+tt.filter+`}]}]}`)
			if got := names(a); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if total := a.at("total"); total != float64(len(strings.Fields(tt.want))) {
				t.Errorf("total %v", total)
			}
		})
	}
	t.Run("domain with wildcard", func(t *testing.T) {
		a := r.api("POST", contacts+"/search", token, `{"filterGroups":[{"filters":[{"propertyName":"email","operator":"CONTAINS_TOKEN","value":"*@south.example.com"}]}]}`)
		if a.want(200).at("total") != 1.0 || a.at("results.0.properties.email") != "bob@south.example.com" {
			t.Errorf("body %s", a.body)
		}
	})
}

func TestSearchCombinations(t *testing.T) {
	r, token := searchRig(t)
	tests := []struct{ name, body, want string }{
		{"everything", `{}`, "Al Be al Ga"},
		{"and", `{"filterGroups":[{"filters":[{"propertyName":"dealname","operator":"CONTAINS_TOKEN","value":"alpha"},{"propertyName":"amount","operator":"GT","value":"500"}]}]}`, "al"},
		{"or", `{"filterGroups":[{"filters":[{"propertyName":"amount","operator":"GT","value":"500"}]},{"filters":[{"propertyName":"dealname","operator":"EQ","value":"gamma"}]}]}`, "al Ga"},
		{"query", `{"query":"ALPHA"}`, "Al al Ga"},
		{"query with words", `{"query":"alpha rene"}`, "al"},
		{"query and filter", `{"query":"alpha","filterGroups":[{"filters":[{"propertyName":"amount","operator":"HAS_PROPERTY"}]}]}`, "Al al"},
		{"sort ascending", `{"sorts":[{"propertyName":"amount","direction":"ASCENDING"}]}`, "Be Al al Ga"},
		{"sort descending", `{"sorts":[{"propertyName":"amount","direction":"DESCENDING"}]}`, "al Al Be Ga"},
		{"sort by a name", `{"sorts":["-closedate"]}`, "al Be Al Ga"},
		{"sort by JSON in a string", `{"sorts":["{\"propertyName\":\"amount\",\"direction\":\"DESCENDING\"}"]}`, "al Al Be Ga"},
		{"limit and after", `{"limit":2,"after":"1"}`, "Be al"},
		{"after as a number", `{"limit":2,"after":2}`, "al Ga"},
		{"after null", `{"after":null}`, "Al Be al Ga"},
		{"beyond the end", `{"after":"40"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := names(r.api("POST", "/crm/v3/objects/deals/search", token, tt.body)); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("paging", func(t *testing.T) {
		a := r.api("POST", "/crm/v3/objects/deals/search", token, `{"limit":3,"properties":["amount"]}`).want(200)
		if a.at("total") != 4.0 || a.at("paging.next.after") != "3" || a.at("paging.next.link") != nil || a.at("results.0.properties.dealname") != nil {
			t.Errorf("body %s", a.body)
		}
		a = r.api("POST", "/crm/v3/objects/deals/search", token, `{"limit":3,"after":"3"}`).want(200)
		if a.at("paging") != nil {
			t.Errorf("body %s", a.body)
		}
	})
	t.Run("archived ones are not found", func(t *testing.T) {
		r.api("DELETE", "/crm/v3/objects/deals/9001", token, "").want(204)
		if got := names(r.api("POST", "/crm/v3/objects/deals/search", token, `{}`)); got != "Be al Ga" {
			t.Errorf("found %q", got)
		}
	})
}

func TestSearchIsValidated(t *testing.T) {
	r, token := searchRig(t)
	one := `{"propertyName":"amount","operator":"HAS_PROPERTY"}`
	group := func(n int) string { return `{"filters":[` + strings.Join(slices.Repeat([]string{one}, n), ",") + `]}` }
	groups := func(n, each int) string {
		return `{"filterGroups":[` + strings.Join(slices.Repeat([]string{group(each)}, n), ",") + `]}`
	}
	filter := func(f string) string { return `{"filterGroups":[{"filters":[{` + f + `}]}]}` }
	tests := []struct{ name, body, want string }{
		{"limit", `{"limit":201}`, "at most 200"},
		{"after", `{"after":"x"}`, "after"},
		{"10,000 results", `{"limit":100,"after":"9901"}`, "at most 10000 results"},
		{"groups", groups(6, 1), "at most 5"},
		{"filters in a group", groups(1, 7), "at most 6"},
		{"filters in all", groups(4, 5), "18"},
		{"sorts", `{"sorts":["amount","dealname"]}`, "at most one"},
		{"sort property", `{"sorts":["nope"]}`, "does not exist"},
		{"sort direction", `{"sorts":[{"propertyName":"amount","direction":"UP"}]}`, "ASCENDING"},
		{"no operator", filter(`"propertyName":"amount"`), "some of required attributes are not set"},
		{"operator", filter(`"propertyName":"amount","operator":"LIKE","value":"1"`), "is not one of"},
		{"property", filter(`"propertyName":"nope","operator":"HAS_PROPERTY"`), "does not exist"},
		{"value", filter(`"propertyName":"amount","operator":"EQ"`), "requires a value"},
		{"values", filter(`"propertyName":"amount","operator":"IN","value":"1"`), "requires values"},
		{"highValue", filter(`"propertyName":"amount","operator":"BETWEEN","value":"1"`), "requires a highValue"},
		{"number", filter(`"propertyName":"amount","operator":"GT","value":"much"`), "is not a value"},
		{"body length", `{"query":"` + strings.Repeat("x", 3000) + `"}`, "3000"},
		{"JSON", `{"query":`, "Invalid input JSON on line 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.api("POST", "/crm/v3/objects/deals/search", token, tt.body).want(400).has(tt.want, `"status":"error"`)
		})
	}
	r.api("POST", "/crm/v3/objects/deals/search", token, groups(5, 3)).want(200)
	r.api("POST", "/crm/v3/objects/deals/search", token, `{"limit":100,"after":"9900"}`).want(200)
}

func TestSearchStopsAtTenThousand(t *testing.T) {
	r := newRig(t, func(o *sandbox.Options) {
		noQuota(o)
		o.Portals = []sandbox.Portal{{HubID: sandbox.DemoHubID, Contacts: 10_050}}
	})
	token := r.connect().access
	a := r.api("POST", contacts+"/search", token, `{"limit":200,"after":"9800"}`).want(200)
	if a.at("total") != 10050.0 || a.at("paging") != nil || len(a.at("results").([]any)) != 200 {
		t.Errorf("total %v, paging %v", a.at("total"), a.at("paging"))
	}
	t.Run("listing has no such limit", func(t *testing.T) {
		a := r.api("GET", contacts+"?limit=100&after=10101", token, "").want(200)
		if n := len(a.at("results").([]any)); n != 50 { // ids begin at 101
			t.Errorf("%d results after the first 10,000", n)
		}
	})
}
