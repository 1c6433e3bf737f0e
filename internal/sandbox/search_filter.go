package sandbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

type filter struct {
	PropertyName string            `json:"propertyName"`
	Operator     string            `json:"operator"`
	Value        json.RawMessage   `json:"value"`
	HighValue    json.RawMessage   `json:"highValue"`
	Values       []json.RawMessage `json:"values"`
}

// predicate says whether an object meets a condition.
type predicate func(o *object) bool

// scalar is a JSON value of a filter as text.
func scalar(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// compile checks a filter and makes a predicate of it.
func (f *filter) compile(t *objectType) (predicate, error) {
	if f.PropertyName == "" || f.Operator == "" {
		return nil, errors.New("Cannot build Filter, some of required attributes are not set [propertyName, operator]")
	}
	p, known := t.properties[f.PropertyName]
	if !known {
		return nil, fmt.Errorf("Property %q does not exist", f.PropertyName)
	}
	switch f.Operator {
	case "HAS_PROPERTY":
		return func(o *object) bool { return o.properties[f.PropertyName] != "" }, nil
	case "NOT_HAS_PROPERTY":
		return func(o *object) bool { return o.properties[f.PropertyName] == "" }, nil
	case "IN", "NOT_IN":
		return f.compileList(p)
	}
	test, err := f.compileValue(p)
	if err != nil {
		return nil, err
	}
	return f.onValue(test), nil
}

// onValue is a predicate that is false for objects without the property:
// HubSpot's negative operators, too, speak of records that have a value.
func (f *filter) onValue(test func(value string) bool) predicate {
	return func(o *object) bool {
		value, set := o.properties[f.PropertyName]
		return set && test(value)
	}
}

func (f *filter) compileList(p property) (predicate, error) {
	if len(f.Values) == 0 {
		return nil, fmt.Errorf("operator %s requires values", f.Operator)
	}
	wanted := make([]string, len(f.Values))
	for i, raw := range f.Values {
		wanted[i] = scalar(raw)
	}
	negate := f.Operator == "NOT_IN"
	return f.onValue(func(value string) bool {
		return negate != slices.ContainsFunc(wanted, func(w string) bool { return p.equal(value, w) })
	}), nil
}

// compileValue is for the operators that compare with one value, or two.
func (f *filter) compileValue(p property) (func(string) bool, error) {
	if len(f.Value) == 0 {
		return nil, fmt.Errorf("operator %s requires a value", f.Operator)
	}
	want := scalar(f.Value)
	switch f.Operator {
	case "EQ":
		return func(v string) bool { return p.equal(v, want) }, nil
	case "NEQ":
		return func(v string) bool { return !p.equal(v, want) }, nil
	case "CONTAINS_TOKEN":
		return func(v string) bool { return containsToken(v, want) }, nil
	case "NOT_CONTAINS_TOKEN":
		return func(v string) bool { return !containsToken(v, want) }, nil
	case "BETWEEN":
		return f.compileBetween(p, want)
	}
	holds, known := map[string]func(int) bool{
		"LT":  func(order int) bool { return order < 0 },
		"LTE": func(order int) bool { return order <= 0 },
		"GT":  func(order int) bool { return order > 0 },
		"GTE": func(order int) bool { return order >= 0 },
	}[f.Operator]
	if !known {
		return nil, fmt.Errorf("operator %q is not one of EQ, NEQ, LT, LTE, GT, GTE, BETWEEN, IN, NOT_IN, HAS_PROPERTY, NOT_HAS_PROPERTY, CONTAINS_TOKEN, NOT_CONTAINS_TOKEN", f.Operator)
	}
	if !p.readable(want) {
		return nil, fmt.Errorf("%q is not a value of the property %s", want, f.PropertyName)
	}
	return func(v string) bool {
		order, ok := p.compare(v, want)
		return ok && holds(order)
	}, nil
}

func (f *filter) compileBetween(p property, low string) (func(string) bool, error) {
	if len(f.HighValue) == 0 {
		return nil, errors.New("operator BETWEEN requires a highValue")
	}
	high := scalar(f.HighValue)
	if !p.readable(low) || !p.readable(high) {
		return nil, fmt.Errorf("%q to %q are not values of the property %s", low, high, f.PropertyName)
	}
	return func(v string) bool {
		fromLow, ok1 := p.compare(v, low)
		fromHigh, ok2 := p.compare(v, high)
		return ok1 && ok2 && fromLow >= 0 && fromHigh <= 0
	}, nil
}

// readable reports whether a value can be compared with those of the
// property.
func (p property) readable(value string) bool {
	_, ok := p.compare(value, value)
	return ok
}

// equal compares text without regard to case, and enumerations exactly.
func (p property) equal(a, b string) bool {
	if p.kind == kindEnum {
		return a == b
	}
	order, ok := p.compare(a, b)
	return ok && order == 0
}

// compare orders two values of the property; false if one cannot be read.
func (p property) compare(a, b string) (int, bool) {
	switch p.kind {
	case kindNumber:
		x, err1 := strconv.ParseFloat(a, 64)
		y, err2 := strconv.ParseFloat(b, 64)
		return cmp.Compare(x, y), err1 == nil && err2 == nil
	case kindTime:
		x, ok1 := parseTime(a)
		y, ok2 := parseTime(b)
		return x.Compare(y), ok1 && ok2
	default:
		return cmp.Compare(strings.ToLower(a), strings.ToLower(b)), true
	}
}

// containsToken reports whether every word of want is a word of value; words
// may have "*" for any run of characters. A pattern with a wildcard may also
// match the value as a whole ("*@example.com").
func containsToken(value, want string) bool {
	value, want = strings.ToLower(value), strings.ToLower(want)
	if strings.Contains(want, "*") && globMatch(want, value) {
		return true
	}
	tokens := words(value)
	for _, w := range strings.FieldsFunc(want, func(r rune) bool { return r != '*' && splitsWords(r) }) {
		if !slices.ContainsFunc(tokens, func(token string) bool { return globMatch(w, token) }) {
			return false
		}
	}
	return true
}

func words(s string) []string { return strings.FieldsFunc(s, splitsWords) }

func splitsWords(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// globMatch matches with "*" as the only special character.
func globMatch(pattern, s string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, head)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		_, after, found := strings.Cut(s, part)
		if !found {
			return false
		}
		s = after
	}
	return strings.HasSuffix(s, last)
}
