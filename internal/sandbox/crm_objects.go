package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

type objectView struct {
	ID         string             `json:"id"`
	Properties map[string]*string `json:"properties"`
	CreatedAt  string             `json:"createdAt"`
	UpdatedAt  string             `json:"updatedAt"`
	Archived   bool               `json:"archived"`
	ArchivedAt string             `json:"archivedAt,omitempty"`
	New        *bool              `json:"new,omitempty"`
	TraceID    string             `json:"objectWriteTraceId,omitempty"`
}

type pageView struct {
	Total   *int         `json:"total,omitempty"`
	Results []objectView `json:"results"`
	Paging  *paging      `json:"paging,omitempty"`
}

type paging struct {
	Next nextPage `json:"next"`
}

type nextPage struct {
	After string `json:"after"`
	Link  string `json:"link,omitempty"`
}

// view shows the named properties, or the type's default ones, beside those
// that are always shown. Unset ones are null, unknown ones are left out.
func (t *objectType) view(o *object, names []string) objectView {
	if len(names) == 0 {
		names = t.defaults
	}
	props := make(map[string]*string, len(names)+3)
	for _, name := range slices.Concat(names, []string{"hs_object_id", "createdate", t.modified}) {
		if value, set := o.properties[name]; set {
			props[name] = &value
		} else if _, known := t.properties[name]; known {
			props[name] = nil
		}
	}
	v := objectView{
		ID: strconv.FormatInt(o.id, 10), Properties: props,
		CreatedAt: instant(o.created), UpdatedAt: instant(o.modified),
	}
	if !o.archived.IsZero() {
		v.Archived, v.ArchivedAt = true, instant(o.archived)
	}
	return v
}

// viewSet shows every property that is set.
func (t *objectType) viewSet(o *object) objectView {
	return t.view(o, slices.Collect(maps.Keys(o.properties)))
}

// onTable runs a handler on the table that the path names.
func onTable(h func(c *call, t *table) reply) apiHandler {
	return func(c *call) reply {
		name := c.PathValue("type")
		kind, ok := objectTypeNamed(name)
		if !ok {
			return apiError{Message: "Unable to infer object type from: " + name}.
				reply(http.StatusBadRequest, c.correlation)
		}
		return h(c, c.portal.tables()[kind.name])
	}
}

func (c *call) listObjects(t *table) reply {
	query := c.URL.Query()
	limit, err := numberIn(query.Get("limit"), 10, 1, 100)
	if err != nil {
		return validationError(c.correlation, "limit: "+err.Error())
	}
	first, err := numberIn(query.Get("after"), 0, 0, 1<<53)
	if err != nil {
		return validationError(c.correlation, "after: "+err.Error())
	}
	objects, next := t.page(first, int(limit), query.Get("archived") == "true")
	out := pageView{Results: t.views(objects, listParam(query, "properties"))}
	if next > 0 {
		after := strconv.FormatInt(next, 10)
		out.Paging = &paging{nextPage{After: after, Link: c.nextLink(query, after)}}
	}
	return jsonReply(http.StatusOK, out)
}

func (t *objectType) views(objects []*object, names []string) []objectView {
	out := make([]objectView, len(objects))
	for i, o := range objects {
		out[i] = t.view(o, names)
	}
	return out
}

// nextLink is the request's own URL with another after.
func (c *call) nextLink(query url.Values, after string) string {
	query.Set("after", after)
	return siteOf(c.Request) + c.URL.EscapedPath() + "?" + query.Encode()
}

func numberIn(value string, otherwise, low, high int64) (int64, error) {
	if value == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("must be a number from %d to %d", low, high)
	}
	return n, nil
}

// listParam reads a query parameter that may be repeated and comma-separated.
func listParam(query url.Values, name string) []string {
	var out []string
	for _, value := range query[name] {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

func (c *call) getObject(t *table) reply {
	query := c.URL.Query()
	o, problem := c.find(t, c.PathValue("id"), query.Get("idProperty"), query.Get("archived") == "true")
	if problem != nil {
		return *problem
	}
	return jsonReply(http.StatusOK, t.view(o, listParam(query, "properties")))
}

// find looks an object up by id, or by another unique property.
func (c *call) find(t *table, id, idProperty string, archived bool) (*object, *reply) {
	o, err := t.lookup(id, idProperty, archived)
	switch {
	case err != nil:
		return nil, new(validationError(c.correlation, err.Error()))
	case o != nil:
		return o, nil
	}
	return nil, new(apiError{
		Message: "Object not found.  objectId are usually numeric.", Category: "OBJECT_NOT_FOUND",
		Context: map[string][]string{"id": {id}},
	}.reply(http.StatusNotFound, c.correlation))
}

// lookup is find without an answer to make. It returns nil for an object that
// is not there.
func (t *table) lookup(id, idProperty string, archived bool) (*object, error) {
	switch {
	case idProperty == "" || idProperty == "hs_object_id":
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, nil
		}
		return t.get(number, archived), nil
	case idProperty == "email" && t.name == "contacts":
		if archived {
			return nil, nil
		}
		return t.byEmail(id), nil
	}
	return nil, fmt.Errorf("Property %q is not a unique property of %s and cannot be used as idProperty", idProperty, t.name)
}

type writeBody struct {
	Properties map[string]any `json:"properties"`
}

func (c *call) createObject(t *table) reply {
	var body writeBody
	if problem := c.decode(&body); problem != nil {
		return *problem
	}
	values, problem := c.newValues(t, body.Properties)
	if problem != nil {
		return *problem
	}
	o, err := c.insert(t, values)
	if err != nil {
		return c.conflict(err)
	}
	return jsonReply(http.StatusCreated, t.viewSet(o))
}

// newValues checks the properties of an object to be.
func (c *call) newValues(t *table, raw map[string]any) (map[string]string, *reply) {
	values, issues := t.clean(raw)
	if len(issues) > 0 {
		return nil, new(invalidProperties(c.correlation, c.hubID(), issues))
	}
	if !slices.ContainsFunc(t.oneOf, func(name string) bool { return values[name] != "" }) {
		return nil, new(validationError(c.correlation, "At least one of the following properties is required to create a "+t.singular+": "+strings.Join(t.oneOf, ", ")))
	}
	return values, nil
}

func (c *call) conflict(err error) reply {
	return apiError{Message: err.Error(), Category: "CONFLICT"}.reply(http.StatusConflict, c.correlation)
}

func (c *call) updateObject(t *table) reply {
	o, problem := c.find(t, c.PathValue("id"), c.URL.Query().Get("idProperty"), false)
	if problem != nil {
		return *problem
	}
	var body writeBody
	if problem := c.decode(&body); problem != nil {
		return *problem
	}
	values, issues := t.clean(body.Properties)
	if len(issues) > 0 {
		return invalidProperties(c.correlation, c.hubID(), issues)
	}
	changed, err := c.update(t, o.id, values)
	if err != nil {
		return c.conflict(err)
	}
	if changed == nil { // archived since it was found
		_, problem = c.find(t, c.PathValue("id"), "", false)
		return *problem
	}
	return jsonReply(http.StatusOK, t.view(changed, slices.Collect(maps.Keys(values))))
}

func (c *call) archiveObject(t *table) reply {
	o, problem := c.find(t, c.PathValue("id"), "", false)
	if problem != nil {
		return *problem
	}
	c.archive(t, o.id)
	return reply{status: http.StatusNoContent}
}
