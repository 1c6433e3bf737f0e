package access_test

import (
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
)

func TestParseRule(t *testing.T) {
	for _, tc := range []struct{ methods, glob, want string }{
		{"GET", "/crm/*", "GET /crm/*"},
		{"GET,POST", "/crm/*", "GET,POST /crm/*"},
		{"GET, POST", "/crm/*", "GET,POST /crm/*"},
		{"*", "*", "* *"},
		{"PATCH,PUT,DELETE,HEAD,OPTIONS,TRACE,CONNECT", "*/batch/archive", "PATCH,PUT,DELETE,HEAD,OPTIONS,TRACE,CONNECT */batch/archive"},
		{"GET", "/email/public/v1/singleEmail/send", "GET /email/public/v1/singleEmail/send"},
		{"GET", "/crm/v3/.hidden/a..b/*", "GET /crm/v3/.hidden/a..b/*"},
		{"GET", "/a%zz", "GET /a%zz"},
	} {
		rule, err := access.ParseRule(tc.methods, tc.glob)
		if err != nil {
			t.Errorf("ParseRule(%q, %q): %v", tc.methods, tc.glob, err)
			continue
		}
		if rule.String() != tc.want || rule.IsZero() {
			t.Errorf("ParseRule(%q, %q) = %q, want %q", tc.methods, tc.glob, rule, tc.want)
		}
	}
}

func TestParseRuleRefuses(t *testing.T) {
	for _, tc := range []struct{ name, methods, glob, want string }{
		{"unknown method", "FETCH", "/crm/*", `"FETCH" is not an HTTP method; known are GET, HEAD`},
		{"lower case", "get", "/crm/*", `method "get" must be in upper case: GET`},
		{"empty list", "", "/crm/*", "an empty method"},
		{"empty element", "GET,,POST", "/crm/*", "an empty method"},
		{"duplicate", "GET,POST,GET", "/crm/*", "method GET is given twice"},
		{"star among others", "GET,*", "/crm/*", "write it alone"},
		{"empty glob", "GET", "", "must not be empty"},
		{"relative", "GET", "crm/*", "must start with / or *"},
		{"absolute URL", "GET", "https://api.hubapi.com/crm/*", "must start with / or *"},
		{"query", "GET", "/crm/*?limit=1", "the query is not compared"},
		{"fragment", "GET", "/crm/*#x", "the query is not compared"},
		{"encoded", "GET", "/crm/a%20b", "write the character itself"},
		{"parameters", "GET", "/crm/a;v=1", "parameters after ; are taken off"},
		{"backslash", "GET", `/crm\*`, "a backslash never matches"},
		{"double slash", "GET", "/crm//*", "// never matches"},
		{"dot segment", "GET", "/crm/../oauth/*", "the segments . and .. never match"},
		{"single dot", "GET", "*/.", "the segments . and .. never match"},
		{"space at the end of a segment", "GET", "/crm /*", "white space and + at the ends"},
		{"plus at the end", "GET", "/crm/a+", "white space and + at the ends"},
		{"soft hyphen", "GET", "/crm/a\u00adb", "a character that is not seen"},
		{"dot at the end", "GET", "/crm/a./b", "a dot at the end of a segment"},
		{"control", "GET", "/crm/\t*", "control character"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := access.ParseRule(tc.methods, tc.glob)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseRule(%q, %q) = %v, want an error with %q", tc.methods, tc.glob, err, tc.want)
			}
		})
	}
}
