package appconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

// LoadYAML reads the apps of an apps_file, in the order of the file:
//
//	apps:
//	  hbdev:
//	    client_id: "{env.HUBSPOT_CLIENT_ID}"
//	    client_secret: "{env.HUBSPOT_CLIENT_SECRET}"
//	    scopes: [oauth, crm.objects.contacts.read]
//	    redirect_uri: https://app.example.com/hubspot/hbdev/callback
//	    quota: 110 10s
//
// Every app is checked with [App.Validate]. Unknown and duplicate keys, wrong
// types, anchors, tags and further documents are refused; nothing in the file
// is expanded. Errors start with the file and the line.
func LoadYAML(path string) ([]NamedApp, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ParseYAML(path, data)
}

// ParseYAML is [LoadYAML] for the content of the file of that name.
func ParseYAML(name string, data []byte) ([]NamedApp, error) {
	root, err := decodeYAML(data)
	var apps []NamedApp
	if err == nil {
		apps, err = readApps(root)
	}
	for i := range apps {
		apps[i].File = name
	}
	if located, ok := errors.AsType[*lineError](err); ok && located.line > 0 {
		return nil, fmt.Errorf("%s:%d: %w", name, located.line, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return apps, nil
}

// lineError is an error with the line on which it is. The line is not in its
// text, so that it can be wrapped.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

func errorAt(node *yaml.Node, format string, args ...any) error {
	return &lineError{line: node.Line, err: fmt.Errorf(format, args...)}
}

// decodeYAML returns the root of the one document in data.
func decodeYAML(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("is empty; it must have apps: and the apps' names below")
	}
	if err != nil {
		return nil, syntaxError(err)
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, syntaxError(err)
	default:
		return nil, errorAt(&second, "a second document; all apps belong under one apps:")
	}
	root := document.Content[0]
	return root, checkPlain(root)
}

var yamlSyntax = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxError moves the line out of the text.
func syntaxError(err error) error {
	match := yamlSyntax.FindStringSubmatch(err.Error())
	if match == nil {
		return err
	}
	line, _ := strconv.Atoi(match[1])
	return &lineError{line: line, err: errors.New("is not YAML: " + match[2])}
}

// checkPlain refuses what makes a file mean something else than it says.
func checkPlain(node *yaml.Node) error {
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		return errorAt(node, "anchors and aliases (& and *) are not supported; a text that starts so needs quotes")
	case node.Style&yaml.TaggedStyle != 0:
		return errorAt(node, "tags (!) are not supported; a text that starts so needs quotes")
	}
	for _, child := range node.Content {
		if err := checkPlain(child); err != nil {
			return err
		}
	}
	return nil
}

func readApps(root *yaml.Node) ([]NamedApp, error) {
	var apps []NamedApp
	var list *yaml.Node
	err := eachKey(root, "the file", func(key, value *yaml.Node) error {
		if key.Value != "apps" {
			return errorAt(key, "unknown key %q; the only one at the top is apps", key.Value)
		}
		list = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	if list == nil {
		return nil, errorAt(root, "must have apps: and the apps' names below")
	}
	names := make(map[string]string)
	err = eachKey(list, "apps", func(key, value *yaml.Node) error {
		if other, ok := names[CanonicalName(key.Value)]; ok {
			return errorAt(key, "app %q: there is an app %q already; names compare case-insensitively", key.Value, other)
		}
		names[CanonicalName(key.Value)] = key.Value
		app, err := readApp(key, value)
		apps = append(apps, NamedApp{Name: key.Value, App: app, Line: key.Line})
		return err
	})
	return apps, err
}

// eachKey calls f for each entry of a mapping that has at least one.
func eachKey(node *yaml.Node, what string, f func(key, value *yaml.Node) error) error {
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		return errorAt(node, "%s must be a mapping with at least one key", what)
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			return errorAt(key, "a key of %s must be a text; put others in quotes", what)
		case seen[key.Value]:
			return errorAt(key, "duplicate key %q", key.Value)
		}
		seen[key.Value] = true
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func readApp(name, node *yaml.Node) (App, error) {
	var app App
	lines := map[string]*yaml.Node{"": name}
	if err := ValidateName(name.Value); err != nil {
		return app, errorAt(name, "%w", &SettingError{App: name.Value, Err: err})
	}
	what := fmt.Sprintf("app %q", name.Value)
	err := eachKey(node, what, func(key, value *yaml.Node) error {
		lines[key.Value] = value
		setting, ok := settingNamed(key.Value)
		if !ok {
			return fmt.Errorf("%s: %w", what, errorAt(key, "unknown key %q; known are %s", key.Value, settingNames()))
		}
		if err := setting.read(&app, value); err != nil {
			return fmt.Errorf("%s: %s: %w", what, key.Value, err)
		}
		return nil
	})
	if err != nil {
		return app, err
	}
	err = app.Validate(name.Value)
	if wrong, ok := errors.AsType[*SettingError](err); ok {
		place := lines[wrong.Setting]
		if place == nil {
			place = name // the setting is missing
		}
		return app, errorAt(place, "%w", err)
	}
	return app, err
}
