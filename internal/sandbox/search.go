package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// HubSpot's limits of a search.
const (
	maxSearchBody      = 3000
	maxSearchResults   = 10000
	maxSearchLimit     = 200
	maxFilterGroups    = 5
	maxFiltersPerGroup = 6
	maxFilters         = 18
)

type searchBody struct {
	Query        string            `json:"query"`
	Limit        *int              `json:"limit"`
	After        valueOrNumber     `json:"after"`
	Sorts        []json.RawMessage `json:"sorts"`
	Properties   []string          `json:"properties"`
	FilterGroups []struct {
		Filters []filter `json:"filters"`
	} `json:"filterGroups"`
}

type sorting struct {
	PropertyName string `json:"propertyName"`
	Direction    string `json:"direction"`
}

func (c *call) searchObjects(t *table) reply {
	raw, problem := c.readJSON()
	if problem != nil {
		return *problem
	}
	if len(raw) > maxSearchBody {
		return validationError(c.correlation, fmt.Sprintf("The search request body is longer than %d characters.", maxSearchBody))
	}
	var body searchBody
	if err := json.Unmarshal(raw, &body); err != nil {
		return c.invalidJSON(raw, err)
	}
	out, err := t.search(body)
	if err != nil {
		return validationError(c.correlation, "There was a problem with the request.", errorDetail{Message: err.Error()})
	}
	return jsonReply(http.StatusOK, out)
}

// search runs a search over what is not archived. Unlike HubSpot's index,
// the sandbox's is never behind.
func (t *table) search(body searchBody) (pageView, error) {
	limit, offset, err := body.window()
	if err != nil {
		return pageView{}, err
	}
	matches, err := t.compile(body)
	if err != nil {
		return pageView{}, err
	}
	less, err := t.sorter(body.Sorts)
	if err != nil {
		return pageView{}, err
	}
	found := slices.DeleteFunc(t.all(), func(o *object) bool { return !matches(o) })
	if less != nil {
		slices.SortStableFunc(found, less)
	}
	total := len(found)
	from, to := min(offset, total), min(offset+limit, total)
	out := pageView{Total: &total, Results: t.views(found[from:to], body.Properties)}
	if to < min(total, maxSearchResults) {
		out.Paging = &paging{nextPage{After: strconv.Itoa(to)}}
	}
	return out, nil
}

// window is the part of the results that is asked for.
func (b *searchBody) window() (limit, offset int, err error) {
	limit = 10
	if b.Limit != nil {
		limit = *b.Limit
	}
	if limit < 0 || limit > maxSearchLimit {
		return 0, 0, fmt.Errorf("limit: must be at most %d", maxSearchLimit)
	}
	if b.After != "" && b.After != "null" {
		offset, err = strconv.Atoi(string(b.After))
		if err != nil || offset < 0 {
			return 0, 0, errors.New("after: must be a value that paging.next.after had")
		}
	}
	if offset+limit > maxSearchResults {
		return 0, 0, fmt.Errorf("after: a search gives at most %d results; narrow it with filters", maxSearchResults)
	}
	return limit, offset, nil
}

// compile makes one predicate of the filter groups (any of them, each with
// all of its filters) and the query.
func (t *table) compile(body searchBody) (func(*object) bool, error) {
	if len(body.FilterGroups) > maxFilterGroups {
		return nil, fmt.Errorf("filterGroups: at most %d", maxFilterGroups)
	}
	var groups [][]predicate
	total := 0
	for i, group := range body.FilterGroups {
		total += len(group.Filters)
		if len(group.Filters) > maxFiltersPerGroup || total > maxFilters {
			return nil, fmt.Errorf("filterGroups[%d]: at most %d filters in a group and %d in all", i, maxFiltersPerGroup, maxFilters)
		}
		var all []predicate
		for j := range group.Filters {
			p, err := group.Filters[j].compile(t.objectType)
			if err != nil {
				return nil, fmt.Errorf("filterGroups[%d].filters[%d]: %w", i, j, err)
			}
			all = append(all, p)
		}
		groups = append(groups, all)
	}
	words := strings.Fields(strings.ToLower(body.Query))
	return func(o *object) bool {
		return (len(groups) == 0 || slices.ContainsFunc(groups, func(all []predicate) bool { return holdAll(all, o) })) &&
			t.hasWords(o, words)
	}, nil
}

func holdAll(all []predicate, o *object) bool {
	return !slices.ContainsFunc(all, func(p predicate) bool { return !p(o) })
}

// hasWords reports whether each word begins a word of, or stands in, one of
// the searchable properties.
func (t *table) hasWords(o *object, words []string) bool {
	for _, word := range words {
		if !slices.ContainsFunc(t.searchable, func(name string) bool {
			return strings.Contains(strings.ToLower(o.properties[name]), word)
		}) {
			return false
		}
	}
	return true
}

// sorter is the order of a search: HubSpot takes one rule, as an object or, in
// older SDKs, as a string that holds a name or the object's JSON.
func (t *table) sorter(sorts []json.RawMessage) (func(a, b *object) int, error) {
	if len(sorts) == 0 {
		return nil, nil
	}
	if len(sorts) > 1 {
		return nil, errors.New("sorts: at most one")
	}
	rule, err := parseSorting(sorts[0])
	if err != nil {
		return nil, err
	}
	p, known := t.properties[rule.PropertyName]
	if !known {
		return nil, fmt.Errorf("sorts: Property %q does not exist", rule.PropertyName)
	}
	return func(a, b *object) int {
		left, hasLeft := a.properties[rule.PropertyName]
		right, hasRight := b.properties[rule.PropertyName]
		if !hasLeft || !hasRight {
			return missingLast(hasLeft, hasRight)
		}
		order, _ := p.compare(left, right)
		if rule.Direction == "DESCENDING" {
			return -order
		}
		return order
	}, nil
}

func missingLast(hasLeft, hasRight bool) int {
	switch {
	case hasLeft:
		return -1
	case hasRight:
		return 1
	}
	return 0
}

func parseSorting(raw json.RawMessage) (sorting, error) {
	var rule sorting
	var asText string
	if json.Unmarshal(raw, &asText) == nil {
		raw = json.RawMessage(asText)
		if !strings.HasPrefix(asText, "{") {
			name, descending := strings.CutPrefix(asText, "-")
			rule.PropertyName = name
			if descending {
				rule.Direction = "DESCENDING"
			}
			return rule, nil
		}
	}
	if err := json.Unmarshal(raw, &rule); err != nil || rule.PropertyName == "" {
		return rule, errors.New("sorts: must be an object with propertyName and direction")
	}
	switch rule.Direction {
	case "", "ASCENDING", "DESCENDING":
		return rule, nil
	}
	return rule, fmt.Errorf("sorts: direction %q is neither ASCENDING nor DESCENDING", rule.Direction)
}
