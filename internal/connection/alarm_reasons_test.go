package connection_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// A reason that is left out would have no metric before its first alarm.
func TestAlarmReasonsAreAll(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "alarm.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []connection.AlarmReason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "AlarmReason" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, connection.AlarmReason(value))
		}
		return true
	})
	if len(declared) == 0 || !slices.Equal(connection.AlarmReasons(), declared) {
		t.Errorf("AlarmReasons() = %q, and declared are %q", connection.AlarmReasons(), declared)
	}
}
