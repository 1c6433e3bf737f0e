package appconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// object is a JSON object of which some fields are read.
type object map[string]json.RawMessage

// Project is what HubSpot's own file says of an app.
type Project struct {
	Scopes Scopes
	// UserLevel is config.isUserLevel.
	UserLevel bool
}

// LoadProject reads what it says of an app from HubSpot's own file: the
// app-hsmeta.json of a developer project, which must be of type app with OAuth,
// or the public-app.json of an older project. What else is in the file is not
// looked at. Errors name the file and the field. A relative path starts at
// the working directory.
func LoadProject(path string) (Project, error) {
	data, err := readFile(path)
	if err != nil {
		return Project{}, err
	}
	return ParseProject(path, data)
}

// ParseProject is [LoadProject] for the content of the file of that name.
func ParseProject(name string, data []byte) (Project, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var file object
	if err := json.Unmarshal(data, &file); err != nil {
		return Project{}, jsonError(name, data, err)
	}
	project, err := appProject(file)
	if err != nil {
		return Project{}, fmt.Errorf("%s: %w", name, err)
	}
	return project, nil
}

// jsonError adds the line to a syntax error.
func jsonError(name string, data []byte, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return fmt.Errorf("%s:%d: is not JSON: %w", name, line, err)
	}
	return fmt.Errorf("%s: must be a JSON object, as in an app-hsmeta.json", name)
}

// appProject reads both kinds of files.
func appProject(file object) (Project, error) {
	if file["type"] == nil {
		scopes, err := oldAppScopes(file)
		return Project{Scopes: scopes}, err
	}
	kind, err := field[string](file, "", "type", "a string")
	if err != nil {
		return Project{}, err
	}
	if kind != "app" {
		return Project{}, fmt.Errorf("type is %q; the file of an app is needed (type app)", kind)
	}
	config, err := field[object](file, "", "config", "an object")
	if err != nil {
		return Project{}, err
	}
	auth, err := field[object](config, "config.", "auth", "an object")
	if err != nil {
		return Project{}, err
	}
	authType, err := field[string](auth, "config.auth.", "type", "a string")
	if err != nil {
		return Project{}, err
	}
	if authType != "oauth" {
		return Project{}, fmt.Errorf("config.auth.type is %q; only an app with oauth has install links", authType)
	}
	scopes, err := authScopes(auth, "config.auth.")
	if err != nil || config["isUserLevel"] == nil {
		return Project{Scopes: scopes}, err
	}
	userLevel, err := field[bool](config, "config.", "isUserLevel", "true or false")
	return Project{Scopes: scopes, UserLevel: userLevel}, err
}

// oldAppScopes reads a public-app.json.
func oldAppScopes(file object) (Scopes, error) {
	if file["auth"] == nil {
		if file["scopes"] != nil {
			return Scopes{}, errors.New("auth is missing: this is the file of a private app, which has no install links")
		}
		return Scopes{}, errors.New("type is missing; an app-hsmeta.json has type app")
	}
	auth, err := field[object](file, "", "auth", "an object")
	if err != nil {
		return Scopes{}, err
	}
	return authScopes(auth, "auth.")
}

func authScopes(auth object, prefix string) (Scopes, error) {
	const required, conditional, optional = "requiredScopes", "conditionallyRequiredScopes", "optionalScopes"
	var lists []scopeList
	for _, name := range []string{required, conditional, optional} {
		scopes, err := listField(auth, prefix, name)
		if err != nil {
			return Scopes{}, err
		}
		lists = append(lists, scopeList{setting: prefix + name, scopes: scopes})
	}
	if len(lists[0].scopes) == 0 {
		return Scopes{}, fmt.Errorf("%s%s has no scope; an app has at least oauth", prefix, required)
	}
	never := func(string) bool { return false }
	if field, err := checkScopeLists(lists, never, strconv.Quote); err != nil {
		return Scopes{}, fmt.Errorf("%s: %w", field, err)
	}
	return Scopes{Required: lists[0].scopes, Conditional: lists[1].scopes, Optional: lists[2].scopes}, nil
}

// listField reads a list of strings. A list that is not there is empty.
func listField(from object, prefix, name string) ([]string, error) {
	if from[name] == nil {
		return nil, nil
	}
	items, err := field[[]*string](from, prefix, name, "a list of strings")
	if err != nil {
		return nil, err
	}
	var list []string
	for i, item := range items {
		if item == nil {
			return nil, fmt.Errorf("%s%s[%d] must be a string", prefix, name, i)
		}
		if strings.Contains(*item, "${") {
			return nil, fmt.Errorf("%s%s[%d] holds a variable of a HubSpot profile, which only HubSpot expands; write the scopes in the config instead", prefix, name, i)
		}
		list = append(list, *item)
	}
	return list, nil
}

// field reads a field that has to be there, of the kind that an error says.
func field[T any](from object, prefix, name, kind string) (value T, err error) {
	raw := from[name]
	if raw == nil {
		return value, fmt.Errorf("%s%s is missing; it must be %s", prefix, name, kind)
	}
	if bytes.Equal(raw, []byte("null")) || json.Unmarshal(raw, &value) != nil {
		return value, fmt.Errorf("%s%s must be %s", prefix, name, kind)
	}
	return value, nil
}
