package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
)

// valueKind is the type of a property, which decides how values are checked,
// compared and sorted.
type valueKind int

const (
	kindText valueKind = iota
	kindNumber
	kindTime
	kindEnum
)

type property struct {
	kind     valueKind
	readOnly bool
	options  []string // of an enumeration
}

// objectType is what the sandbox knows of a kind of CRM object.
type objectType struct {
	name     string // plural, as in paths and scopes
	singular string // as in messages
	aliases  []string
	// defaults are returned when a request names no properties; the three
	// of them that say id, creation and change are always returned.
	defaults []string
	modified string // the property of the last change
	// oneOf: HubSpot wants one of these to be set when creating.
	oneOf []string
	// searchable are looked at by the query of a search.
	searchable []string
	properties map[string]property
}

func text(names string) map[string]property {
	out := make(map[string]property)
	for name := range strings.FieldsSeq(names) {
		out[name] = property{}
	}
	return out
}

// readOnly are the properties that HubSpot sets, in every type.
func readOnly(modified string) map[string]property {
	return map[string]property{
		"hs_object_id": {kind: kindNumber, readOnly: true},
		"createdate":   {kind: kindTime, readOnly: true},
		modified:       {kind: kindTime, readOnly: true},
	}
}

// merged is a new map with the entries of all; later ones win.
func merged[V any](sets ...map[string]V) map[string]V {
	out := make(map[string]V)
	for _, set := range sets {
		maps.Copy(out, set)
	}
	return out
}

// objectTypes are HubSpot's standard objects that the sandbox has. It is
// never written to; custom properties are in schema.
var objectTypes = map[string]*objectType{
	"contacts": {
		name: "contacts", singular: "contact", aliases: []string{"contacts", "contact", "0-1"},
		defaults:   []string{"createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"},
		modified:   "lastmodifieddate",
		oneOf:      []string{"email", "firstname", "lastname"},
		searchable: []string{"firstname", "lastname", "email", "phone", "fax", "mobilephone", "company"},
		properties: merged(text("email firstname lastname phone mobilephone fax company jobtitle website address city state zip country message hubspot_owner_id hs_language"),
			map[string]property{
				"lifecyclestage": {kind: kindEnum, options: []string{
					"subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead",
					"opportunity", "customer", "evangelist", "other",
				}},
				"hs_lead_status": {kind: kindEnum, options: []string{
					"NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED",
					"ATTEMPTED_TO_CONTACT", "CONNECTED", "BAD_TIMING",
				}},
			}, readOnly("lastmodifieddate")),
	},
	"companies": {
		name: "companies", singular: "company", aliases: []string{"companies", "company", "0-2"},
		defaults:   []string{"createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"},
		modified:   "hs_lastmodifieddate",
		oneOf:      []string{"name", "domain"},
		searchable: []string{"website", "phone", "name", "domain"},
		properties: merged(text("name domain website phone industry description address city state zip country hubspot_owner_id"),
			map[string]property{
				"numberofemployees": {kind: kindNumber},
				"annualrevenue":     {kind: kindNumber},
			}, readOnly("hs_lastmodifieddate")),
	},
	"deals": {
		name: "deals", singular: "deal", aliases: []string{"deals", "deal", "0-3"},
		defaults: []string{
			"amount", "closedate", "createdate", "dealname", "dealstage",
			"hs_lastmodifieddate", "hs_object_id", "pipeline",
		},
		modified:   "hs_lastmodifieddate",
		oneOf:      []string{"dealname"},
		searchable: []string{"dealname", "pipeline", "dealstage", "description", "dealtype"},
		properties: merged(text("dealname description hubspot_owner_id"),
			map[string]property{
				"amount":    {kind: kindNumber},
				"closedate": {kind: kindTime},
				"pipeline":  {kind: kindEnum, options: []string{"default"}},
				"dealtype":  {kind: kindEnum, options: []string{"newbusiness", "existingbusiness"}},
				"dealstage": {kind: kindEnum, options: []string{
					"appointmentscheduled", "qualifiedtobuy", "presentationscheduled",
					"decisionmakerboughtin", "contractsent", "closedwon", "closedlost",
				}},
			}, readOnly("hs_lastmodifieddate")),
	},
}

// objectTypeNamed finds an object type by what may stand in a path.
func objectTypeNamed(name string) (*objectType, bool) {
	lower := strings.ToLower(name)
	for _, t := range objectTypes {
		if slices.Contains(t.aliases, lower) {
			return t, true
		}
	}
	return nil, false
}

// schema are the object types with the custom properties of the options.
type schema map[string]*objectType

func newSchema(custom map[string][]string) schema {
	out := make(schema, len(objectTypes))
	for name, standard := range objectTypes {
		t := *standard
		t.properties = merged(standard.properties)
		for _, p := range custom[name] {
			if _, ok := t.properties[p]; !ok {
				t.properties[p] = property{}
			}
		}
		out[name] = &t
	}
	return out
}

type issue struct{ name, value, code, message string }

// clean checks the properties of a write and brings the values into the form
// in which they are stored. An empty value clears a property.
func (t *objectType) clean(raw map[string]any) (map[string]string, []issue) {
	values := make(map[string]string, len(raw))
	var issues []issue
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		value, problem := t.cleanValue(name, valueText(raw[name]))
		if problem != nil {
			issues = append(issues, *problem)
			continue
		}
		values[name] = value
	}
	return values, issues
}

// valueText is a JSON value as the text that HubSpot stores.
func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		raw, _ := json.Marshal(v) // it came from JSON
		return string(raw)
	}
}

func (t *objectType) cleanValue(name, value string) (string, *issue) {
	p, ok := t.properties[name]
	if !ok {
		return "", &issue{name, value, "PROPERTY_DOESNT_EXIST", fmt.Sprintf("Property %q does not exist", name)}
	}
	if p.readOnly {
		return "", &issue{name, value, "READ_ONLY_VALUE", fmt.Sprintf("%q is a read only property; its value cannot be set.", name)}
	}
	if value == "" {
		return "", nil
	}
	switch p.kind {
	case kindNumber:
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return "", &issue{name, value, "INVALID_INTEGER", value + " was not a valid number"}
		}
	case kindTime:
		at, ok := parseTime(value)
		if !ok {
			return "", &issue{name, value, "INVALID_LONG", value + " was not a valid long."}
		}
		return instant(at), nil
	case kindEnum:
		if !slices.Contains(p.options, value) {
			return "", &issue{name, value, "INVALID_OPTION", fmt.Sprintf("%s was not one of the allowed options: [%s]", value, strings.Join(p.options, ", "))}
		}
	case kindText:
		if name == "email" {
			return cleanEmail(name, value)
		}
	}
	return value, nil
}

// cleanEmail stores addresses in lower case, as HubSpot does.
func cleanEmail(name, value string) (string, *issue) {
	addr, err := mail.ParseAddress(value)
	if err != nil || addr.Address != value || !strings.Contains(value[strings.LastIndex(value, "@"):], ".") {
		return "", &issue{name, value, "INVALID_EMAIL", "Email address " + value + " is invalid"}
	}
	return strings.ToLower(value), nil
}

// parseTime reads what HubSpot takes for a time: ISO 8601, a date, or
// milliseconds since the epoch.
func parseTime(value string) (time.Time, bool) {
	if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.UnixMilli(ms).UTC(), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if at, err := time.Parse(layout, value); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// invalidProperties is HubSpot's 400 for them: the list stands in the message
// as JSON and again, differently, in errors.
func invalidProperties(correlation string, hubID int64, issues []issue) reply {
	type embedded struct {
		IsValid   bool   `json:"isValid"`
		Message   string `json:"message"`
		Error     string `json:"error"`
		Name      string `json:"name"`
		Localized string `json:"localizedErrorMessage"`
		PortalID  int64  `json:"portalId"`
	}
	list := make([]embedded, len(issues))
	details := make([]errorDetail, len(issues))
	for i, is := range issues {
		list[i] = embedded{Message: is.message, Error: is.code, Name: is.name, Localized: is.message, PortalID: hubID}
		details[i] = errorDetail{
			Message: is.message, Code: is.code, Context: map[string][]string{"propertyName": {is.name}},
		}
	}
	asJSON := jsonReply(http.StatusOK, list).body
	return validationError(correlation, "Property values were not valid: "+string(asJSON), details...)
}
