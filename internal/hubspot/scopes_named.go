package hubspot

import "strings"

// objectTypes are the names of HubSpot's own object types in scopes, by what
// stands for them in paths besides the name itself.
var objectTypes = map[string]string{
	"0-1": "contacts", "contact": "contacts",
	"0-2": "companies", "company": "companies",
	"0-3": "deals", "deal": "deals",
	"0-5": "tickets", "ticket": "tickets",
	"0-7": "products", "0-8": "line_items", "0-14": "quotes",
	"0-162": "services", "0-410": "courses", "0-420": "listings",
}

// plainScopes are those of the APIs that have one scope, by the first segment of
// their paths.
var plainScopes = map[string]string{
	"automation": "automation", "cms": "content", "content": "content", "files": "files", "forms": "forms",
	"hubdb": "hubdb", "timeline": "timeline",
}

// NamedScopes returns the scopes that a call needs if HubSpot has named them as
// it mostly does: of each group one, the first that is granted. template is the
// path with anything in the place of ids. It is a guess, to be confirmed by what
// is granted: there are exceptions, and HubSpot's documentation and API disagree
// on some names. It returns nothing for an endpoint of another kind.
func NamedScopes(method, template string) (groups [][]string) {
	verb := "write"
	if OnlyReads(method, template) {
		verb = "read"
	}
	segments := unversioned(template)
	area, rest := segments[0], segments[1:]
	if scope, ok := plainScopes[area]; ok {
		return [][]string{{scope}}
	}
	switch area {
	case "crm":
		return crmScopes(verb, rest)
	case "contacts", "companies", "deals": // of before there was /crm
		return objectScopes(area, verb)
	case "owners":
		return [][]string{{"crm.objects.owners.read"}}
	case "properties":
		return schemaScopes(at(rest, 0), verb)
	case "conversations":
		return [][]string{{"conversations." + verb}}
	case "settings":
		if at(rest, 0) == "users" {
			return [][]string{{"settings.users." + verb}}
		}
	}
	return nil
}

// crmScopes are those of a path below /crm.
func crmScopes(verb string, segments []string) [][]string {
	kind := at(segments, 1)
	switch at(segments, 0) {
	case "objects":
		return objectScopes(kind, verb)
	case "properties", "pipelines":
		return schemaScopes(kind, verb)
	case "associations":
		return append(objectScopes(kind, verb), objectScopes(at(segments, 2), verb)...)
	case "schemas":
		return [][]string{{"crm.schemas.custom." + verb}}
	case "owners":
		return [][]string{{"crm.objects.owners.read"}}
	case "lists":
		return [][]string{{"crm.lists." + verb}}
	case "imports":
		return [][]string{{"crm.import"}}
	case "exports":
		return [][]string{{"crm.export"}}
	}
	return nil
}

// objectScopes are those of the objects of a type. Tickets had a scope of their
// own before, and line items and products want e-commerce besides.
func objectScopes(kind, verb string) [][]string {
	name := typeName(kind)
	groups := [][]string{{"crm.objects." + name + "." + verb}}
	switch name {
	case "":
		return nil
	case "tickets":
		groups[0] = append(groups[0], "tickets")
	case "line_items", "products":
		groups = append(groups, []string{"e-commerce"})
	}
	return groups
}

// schemaScopes are those of the properties and pipelines of a type: HubSpot
// takes the scope of the schema or that of the objects.
func schemaScopes(kind, verb string) [][]string {
	groups := objectScopes(kind, verb)
	if groups == nil {
		return nil
	}
	return [][]string{append([]string{"crm.schemas." + typeName(kind) + "." + verb}, groups[0]...)}
}

// typeName is the name of an object type in scopes. An account's own types have
// one for all of them.
func typeName(segment string) string {
	segment = strings.ToLower(segment)
	if name, ok := objectTypes[segment]; ok {
		return name
	}
	if strings.HasPrefix(segment, "{") || strings.HasPrefix(segment, "2-") || strings.HasPrefix(segment, "p_") {
		return "custom"
	}
	return segment
}

// unversioned splits a path and leaves versions out: they stand behind the area
// (/crm/v3/objects) or behind the API (/crm/objects/2026-09). There is at least
// one segment.
func unversioned(path string) []string {
	var segments []string
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if !isVersion(segment) {
			segments = append(segments, segment)
		}
	}
	if len(segments) == 0 {
		return []string{""}
	}
	return segments
}

// isVersion reports whether a segment is v1 to v99, or a date version as in
// 2026-09 or 2026-09-beta.
func isVersion(segment string) bool {
	if number, ok := strings.CutPrefix(segment, "v"); ok {
		return number != "" && len(number) <= 2 && strings.Trim(number, "0123456789") == ""
	}
	return isDateVersion(strings.TrimSuffix(segment, "-beta"))
}

// at is one of some segments, or nothing.
func at(segments []string, i int) string {
	if i < len(segments) {
		return segments[i]
	}
	return ""
}
