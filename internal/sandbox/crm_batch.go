package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBatch is HubSpot's limit of inputs in a batch.
const maxBatch = 100

// batchBody is the body of every batch call; each uses some of the fields.
type batchBody struct {
	Properties []string     `json:"properties"`
	IDProperty string       `json:"idProperty"`
	Inputs     []batchInput `json:"inputs"`
}

type batchInput struct {
	ID         valueOrNumber  `json:"id"`
	IDProperty string         `json:"idProperty"`
	TraceID    string         `json:"objectWriteTraceId"`
	Properties map[string]any `json:"properties"`
}

// valueOrNumber is an id, which SDKs send as a string and people as a number.
type valueOrNumber string

// UnmarshalJSON takes a string or a number.
func (v *valueOrNumber) UnmarshalJSON(raw []byte) error {
	if unquoted, err := strconv.Unquote(string(raw)); err == nil {
		*v = valueOrNumber(unquoted)
		return nil
	}
	*v = valueOrNumber(raw)
	return nil
}

type batchView struct {
	Status      string       `json:"status"`
	Results     []objectView `json:"results"`
	NumErrors   int          `json:"numErrors,omitempty"`
	Errors      []apiError   `json:"errors,omitempty"`
	StartedAt   string       `json:"startedAt"`
	CompletedAt string       `json:"completedAt"`
}

// batch reads the body and lets h fill in the results.
func batch(h func(c *call, t *table, body batchBody, out *batchView) reply) apiHandler {
	return onTable(func(c *call, t *table) reply {
		var body batchBody
		if problem := c.decode(&body); problem != nil {
			return *problem
		}
		if len(body.Inputs) == 0 {
			return validationError(c.correlation, "Invalid input JSON: inputs must not be empty")
		}
		if len(body.Inputs) > maxBatch {
			return validationError(c.correlation, fmt.Sprintf("Invalid input JSON: a batch has at most %d inputs, this one has %d", maxBatch, len(body.Inputs)))
		}
		out := &batchView{Status: "COMPLETE", Results: []objectView{}, StartedAt: instant(c.portal.now())}
		return h(c, t, body, out)
	})
}

// done answers a batch: 207 if some of its inputs failed.
func (v *batchView) done(status int, now time.Time) reply {
	v.NumErrors, v.CompletedAt = len(v.Errors), instant(now)
	if v.NumErrors > 0 {
		status = http.StatusMultiStatus
	}
	return jsonReply(status, v)
}

// add adds what became of an input.
func (v *batchView) add(view objectView, failed *apiError) {
	if failed != nil {
		v.Errors = append(v.Errors, *failed)
		return
	}
	v.Results = append(v.Results, view)
}

// missing adds the error for ids that were not found.
func (v *batchView) missing(t *table, ids []string) {
	if len(ids) == 0 {
		return
	}
	v.Errors = append(v.Errors, apiError{
		Status: "error", Category: "OBJECT_NOT_FOUND",
		Message: "Could not get some " + strings.ToUpper(t.singular) + " objects, they may be deleted or not exist. Check that ids are valid.",
		Context: map[string][]string{"ids": ids},
	})
}

func (c *call) batchRead(t *table, body batchBody, out *batchView) reply {
	archived := c.URL.Query().Get("archived") == "true"
	var missing []string
	for _, input := range body.Inputs {
		o, err := t.lookup(string(input.ID), body.IDProperty, archived)
		if err != nil {
			return validationError(c.correlation, err.Error())
		}
		if o == nil {
			missing = append(missing, string(input.ID))
			continue
		}
		out.Results = append(out.Results, t.view(o, body.Properties))
	}
	out.missing(t, missing)
	return out.done(http.StatusOK, c.portal.now())
}

// batchCreate creates all or none, unless every input has a trace id: then
// HubSpot creates what it can and tells of the rest (207).
func (c *call) batchCreate(t *table, body batchBody, out *batchView) reply {
	if slices.ContainsFunc(body.Inputs, func(in batchInput) bool { return in.TraceID == "" }) {
		if problem := c.checkAll(t, body.Inputs); problem != nil {
			return *problem
		}
	}
	for _, input := range body.Inputs {
		out.add(c.createOne(t, input))
	}
	return out.done(http.StatusCreated, c.portal.now())
}

// checkAll refuses a batch in which an input could not be created.
func (c *call) checkAll(t *table, inputs []batchInput) *reply {
	seen := make(map[string]bool)
	for _, input := range inputs {
		values, problem := c.newValues(t, input.Properties)
		if problem != nil {
			return problem
		}
		email := values["email"]
		if email == "" || t.name != "contacts" {
			continue
		}
		if existing := t.byEmail(email); existing != nil {
			return new(c.conflict(t.taken(existing.id)))
		}
		if seen[email] {
			return new(validationError(c.correlation, "Duplicate email in the inputs of the batch"))
		}
		seen[email] = true
	}
	return nil
}

// createOne creates an input of a batch, or says what is wrong with it.
func (c *call) createOne(t *table, input batchInput) (objectView, *apiError) {
	values, issues := t.clean(input.Properties)
	if len(issues) > 0 {
		return objectView{}, traced(input, "VALIDATION_ERROR", issues[0].message)
	}
	o, err := c.insert(t, values)
	if err != nil {
		return objectView{}, traced(input, "CONFLICT", err.Error())
	}
	view := t.viewSet(o)
	view.TraceID = input.TraceID
	return view, nil
}

// traced is an error in a batch, with the trace id by which the caller knows
// the input, or the input's id.
func traced(input batchInput, category, message string) *apiError {
	e := &apiError{Status: "error", Category: category, Message: message}
	switch {
	case input.TraceID != "":
		e.Context = map[string][]string{"objectWriteTraceId": {input.TraceID}}
	case input.ID != "":
		e.Context = map[string][]string{"id": {string(input.ID)}}
	}
	return e
}

func (c *call) batchUpdate(t *table, body batchBody, out *batchView) reply {
	values := make([]map[string]string, len(body.Inputs))
	for i, input := range body.Inputs {
		cleaned, issues := t.clean(input.Properties)
		if len(issues) > 0 {
			return invalidProperties(c.correlation, c.hubID(), issues)
		}
		values[i] = cleaned
	}
	var missing []string
	for i, input := range body.Inputs {
		o, err := t.lookup(string(input.ID), input.IDProperty, false)
		if err != nil {
			return validationError(c.correlation, err.Error())
		}
		if o != nil {
			o, err = c.update(t, o.id, values[i])
		}
		switch {
		case err != nil:
			out.Errors = append(out.Errors, *traced(input, "CONFLICT", err.Error()))
		case o == nil:
			missing = append(missing, string(input.ID))
		default:
			out.Results = append(out.Results, t.view(o, slices.Collect(maps.Keys(values[i]))))
		}
	}
	out.missing(t, missing)
	return out.done(http.StatusOK, c.portal.now())
}

// batchUpsert updates the objects it finds by a unique property and creates
// the others.
func (c *call) batchUpsert(t *table, body batchBody, out *batchView) reply {
	for _, input := range body.Inputs {
		out.add(c.upsertOne(t, input))
	}
	return out.done(http.StatusOK, c.portal.now())
}

func (c *call) upsertOne(t *table, input batchInput) (objectView, *apiError) {
	if input.IDProperty == "" {
		return objectView{}, traced(input, "VALIDATION_ERROR", "idProperty is required for upsert")
	}
	found, err := t.lookup(string(input.ID), input.IDProperty, false)
	if err != nil {
		return objectView{}, traced(input, "VALIDATION_ERROR", err.Error())
	}
	if found == nil && input.IDProperty != "email" {
		return objectView{}, traced(input, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
	}
	raw := input.Properties
	if found == nil {
		raw = merged(map[string]any{"email": string(input.ID)}, raw)
	}
	values, issues := t.clean(raw)
	if len(issues) > 0 {
		return objectView{}, traced(input, "VALIDATION_ERROR", issues[0].message)
	}
	var o *object
	if found != nil {
		o, err = c.update(t, found.id, values)
	} else {
		o, err = c.insert(t, values)
	}
	if err != nil {
		return objectView{}, traced(input, "CONFLICT", err.Error())
	}
	if o == nil { // archived since it was found
		return objectView{}, traced(input, "OBJECT_NOT_FOUND", "resource not found")
	}
	view, created := t.viewSet(o), found == nil
	view.New, view.TraceID = &created, input.TraceID
	return view, nil
}

// batchArchive archives what is there and does not mind what is not.
func (c *call) batchArchive(t *table, body batchBody, _ *batchView) reply {
	for _, input := range body.Inputs {
		if id, err := strconv.ParseInt(string(input.ID), 10, 64); err == nil {
			c.archive(t, id)
		}
	}
	return reply{status: http.StatusNoContent}
}
