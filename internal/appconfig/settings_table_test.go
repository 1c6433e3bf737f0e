package appconfig

import (
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

// TestEachFieldHasOneRow: a field without a row would be a setting of the JSON
// config alone, and one whose name differs would confuse whoever changes the
// form of the config.
func TestEachFieldHasOneRow(t *testing.T) {
	t.Parallel()
	var app App
	value := reflect.ValueOf(&app).Elem()
	if value.NumField() != len(settings) {
		t.Errorf("App has %d fields, the table has %d rows", value.NumField(), len(settings))
	}
	for i := range value.NumField() {
		field := value.Type().Field(i)
		jsonName, omit, _ := strings.Cut(field.Tag.Get("json"), ",")
		yamlName, yamlOmit, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if jsonName == "" || jsonName != yamlName || !strings.HasPrefix(omit, "omit") || yamlOmit != "omitempty" {
			t.Errorf("%s: the tags are %s", field.Name, field.Tag)
		}
		var rows []string
		for _, s := range settings {
			if s.target(&app) == value.Field(i).Addr().Interface() {
				rows = append(rows, s.Name)
			}
		}
		if len(rows) != 1 || rows[0] != jsonName {
			t.Errorf("%s is %s in JSON and has the rows %q", field.Name, jsonName, rows)
		}
	}
}

func TestRowsAreWhole(t *testing.T) {
	t.Parallel()
	for _, s := range settings {
		switch target := s.target(new(App)).(type) {
		case *string:
			if s.words > 0 && s.hint == "" {
				t.Errorf("%s: nothing says of which words it is", s.Name)
			}
		case *int64:
			if s.hint == "" {
				t.Errorf("%s: nothing says where the number is", s.Name)
			}
		case *Rate:
			if err := s.fallback.validate(); err != nil && s.Name != "refresh_quota" {
				t.Errorf("%s: the default: %v", s.Name, err)
			}
		case *bool, *[]string:
		default:
			t.Errorf("%s: a setting cannot be a %T", s.Name, target)
		}
		if _, text := s.target(new(App)).(*string); s.Secret && (!text || s.words > 0) {
			t.Errorf("%s: only one text can be a secret", s.Name)
		}
	}
}

// TestFlag is here as long as no app has a flag.
func TestFlag(t *testing.T) {
	t.Parallel()
	var on bool
	flag := Setting{Name: "journal", target: func(*App) any { return &on }}
	if err := flag.Set(nil, []string{"yes"}); err == nil || err.Error() != "journal: takes no value" || on {
		t.Errorf("with a value: %v, %v", on, err)
	}
	if err := flag.Set(nil, nil); err != nil || !on {
		t.Errorf("Set: %v, %v", on, err)
	}
	flag.expand(nil, placeholder.NewExpander(nil))
	if err := flag.checkValue(nil, placeholder.In, strings.ToUpper); err != nil || flag.checkForm(nil) != nil || !on {
		t.Errorf("checked: %v, %v", on, err)
	}
	for text, want := range map[string]bool{"true": true, "false": false} {
		if err := flag.read(nil, node(t, text)); err != nil || on != want {
			t.Errorf("%s: %v, %v", text, on, err)
		}
	}
	for _, text := range []string{"'true'", "1", "yes", "[true]", "null"} {
		if err := flag.read(nil, node(t, text)); err == nil || err.Error() != "must be true or false without quotes" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// node returns the value of a YAML document.
func node(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	return document.Content[0]
}
