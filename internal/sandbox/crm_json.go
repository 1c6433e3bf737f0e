package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// decode reads a JSON body, or returns HubSpot's complaint about it.
func (c *call) decode(into any) *reply {
	raw, problem := c.readJSON()
	if problem != nil {
		return problem
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return new(c.invalidJSON(raw, err))
	}
	return nil
}

// invalidJSON is HubSpot's answer to a body that was not decoded.
func (c *call) invalidJSON(raw []byte, err error) reply {
	return apiError{Message: "Invalid input JSON on " + position(raw, err) + ": " + jsonProblem(err)}.
		reply(http.StatusBadRequest, c.correlation)
}

// readJSON reads the body of a request that says it is JSON. curl's -d sends
// forms unless told otherwise; HubSpot refuses those, too.
func (c *call) readJSON() ([]byte, *reply) {
	if declared := c.Header.Get("Content-Type"); declared != "" {
		kind, _, err := mime.ParseMediaType(declared)
		if err != nil || kind != "application/json" {
			return nil, new(apiError{Message: "HTTP 415 Unsupported Media Type: send Content-Type: application/json"}.
				reply(http.StatusUnsupportedMediaType, c.correlation))
		}
	}
	raw, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, new(apiError{Message: "The request body could not be read"}.reply(http.StatusBadRequest, c.correlation))
	}
	return raw, nil
}

// position says where in a body a JSON error is.
func position(raw []byte, err error) string {
	offset := len(raw)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = int(syntax.Offset)
	} else if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = int(kind.Offset)
	}
	before := string(raw[:min(offset, len(raw))])
	line := strings.Count(before, "\n") + 1
	column := len(before) - (strings.LastIndex(before, "\n") + 1)
	return fmt.Sprintf("line %d, column %d", line, max(column, 1))
}

func jsonProblem(err error) string {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("Cannot deserialize value of type %s from %s", kind.Type, kind.Value)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "Unexpected end-of-input"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
