package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
	"github.com/caddy-hubspot/caddy-hubspot/internal/importing"
	"github.com/caddy-hubspot/caddy-hubspot/internal/strictbody"
)

const (
	// maxRecord bounds a record: two tokens of 8 KiB, and scopes.
	maxRecord = 64 << 10
	// maxRecords bounds the body of an order with many.
	maxRecords = 4 << 20
)

// importOne serves POST /hubspot/connections/<app>: one record.
func importOne(ctx context.Context, r *http.Request, s *sidecar.Sidecar, app *hubapp.App) (int, any, error) {
	o, err := importOptions(r.URL.Query())
	if err != nil {
		return 0, nil, err
	}
	body, err := jsonBody(r, maxRecord)
	if err != nil {
		return 0, nil, err
	}
	result := adminapi.ImportResult{Result: string(importing.Refused)}
	record, err := importfile.ParseJSON(body)
	if err != nil {
		fill(&result, err)
		return http.StatusUnprocessableEntity, result, nil
	}
	done, err := newImporter(s, app).Import(ctx, record, o)
	if err != nil {
		return 0, nil, importError(err)
	}
	result = importResult(done)
	switch {
	case done.Outcome == importing.Refused:
		return http.StatusUnprocessableEntity, result, nil
	case done.Outcome == importing.Exists, o.DryRun:
		return http.StatusOK, result, nil
	}
	return http.StatusCreated, result, nil
}

func newImporter(s *sidecar.Sidecar, app *hubapp.App) *importing.Importer {
	return &importing.Importer{App: app, Audit: s.Audit()}
}

// imports serves POST /hubspot/imports/<app>: many records.
func imports(ctx context.Context, r *http.Request) (int, any, error) {
	if err := wantMethod(r, http.MethodPost); err != nil {
		return 0, nil, err
	}
	s, err := active()
	if err != nil {
		return 0, nil, err
	}
	name := strings.TrimPrefix(r.URL.Path, adminapi.Imports+"/")
	app, ok := s.App(name)
	if !ok {
		return 0, nil, failure(http.StatusNotFound, "there is no app %q", name)
	}
	body, err := jsonBody(r, maxRecords)
	if err != nil {
		return 0, nil, err
	}
	order, err := readImportOrder(body)
	if err != nil {
		return 0, nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	records := make([]importfile.Record, 0, len(order.Records))
	for i, raw := range order.Records {
		record, err := importfile.ParseJSON(raw)
		if err != nil {
			return 0, nil, failure(http.StatusBadRequest, "record %d: %v", i+1, err)
		}
		records = append(records, record)
	}
	o := importing.Options{DryRun: order.DryRun, Overwrite: order.Overwrite}
	done, err := newImporter(s, app).Batch(ctx, records, o)
	answer := adminapi.ImportAnswer{Results: make([]adminapi.ImportResult, 0, len(done))}
	for _, result := range done {
		answer.Results = append(answer.Results, importResult(result))
	}
	if err != nil {
		answer.Problem = &adminapi.ImportProblem{
			Code: string(importing.ProblemOf(err)), Message: err.Error(), RetryAfter: retrySeconds(err),
		}
	}
	return http.StatusOK, answer, nil
}

func retrySeconds(err error) int { return int(math.Ceil(importing.RetryAfter(err).Seconds())) }

func importResult(r importing.Result) adminapi.ImportResult {
	return adminapi.ImportResult{
		Result: string(r.Outcome), HubID: r.HubID, MissingScopes: r.MissingScopes, Field: r.Field, Reason: r.Reason,
	}
}

// fill says what is wrong with a record that could not be read.
func fill(result *adminapi.ImportResult, err error) {
	result.Reason = err.Error()
	if odd, ok := errors.AsType[*importfile.FieldError](err); ok {
		result.Field, result.Reason = odd.Field, odd.Err.Error()
	}
}

// importError gives an error of an import its status.
func importError(err error) error {
	status := http.StatusServiceUnavailable
	if errors.Is(err, connection.ErrCorrupt) {
		status = http.StatusInternalServerError
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}

func importOptions(query url.Values) (importing.Options, error) {
	var o importing.Options
	for name, values := range query {
		on := len(values) == 1 && values[0] == "true"
		if !on && (len(values) != 1 || values[0] != "false") {
			return o, failure(http.StatusBadRequest, "%q: give true or false", name)
		}
		switch name {
		case "dry_run":
			o.DryRun = on
		case "overwrite":
			o.Overwrite = on
		default:
			return o, failure(http.StatusBadRequest, "there is no parameter %q; there are dry_run and overwrite", name)
		}
	}
	return o, nil
}

// readImportOrder is strict: an option that is misspelt may be the one that
// keeps things as they are.
func readImportOrder(body []byte) (adminapi.ImportOrder, error) {
	var order adminapi.ImportOrder
	fields, err := strictbody.Object(body)
	if err != nil {
		return order, fmt.Errorf("the body %w", err)
	}
	for _, field := range fields {
		var target any
		switch field.Name {
		case "records":
			target = &order.Records
		case "dryRun":
			target = &order.DryRun
		case "overwrite":
			target = &order.Overwrite
		default:
			return order, errors.New("the body has an unknown field; there are records, dryRun and overwrite")
		}
		if json.Unmarshal(field.JSON, target) != nil {
			return order, fmt.Errorf("the field %s is of the wrong kind", field.Name)
		}
	}
	if len(order.Records) == 0 || len(order.Records) > adminapi.MaxImports {
		return order, fmt.Errorf("records: give 1 to %d", adminapi.MaxImports)
	}
	return order, nil
}

// jsonBody reads a body of JSON up to a limit.
func jsonBody(r *http.Request, limit int64) ([]byte, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !strictbody.IsJSON(mediaType) {
		return nil, failure(http.StatusUnsupportedMediaType, "the Content-Type must be application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		return nil, failure(http.StatusBadRequest, "the body could not be read to its end")
	case int64(len(body)) > limit:
		return nil, failure(http.StatusRequestEntityTooLarge, "the body is larger than %d KiB", limit>>10)
	}
	return body, nil
}
