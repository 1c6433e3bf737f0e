package install

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestPrefersJSON(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		accept []string
		want   bool
		html   bool
	}{
		"none":              {nil, false, false},
		"curl":              {[]string{"*/*"}, false, false},
		"browser":           {[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}, false, true},
		"JSON":              {[]string{"application/json"}, true, false},
		"axios":             {[]string{"application/json, text/plain, */*"}, true, false},
		"JSON in capitals":  {[]string{"Application/JSON"}, true, false},
		"both, HTML first":  {[]string{"text/html, application/json"}, false, false},
		"both, JSON first":  {[]string{"application/json, text/html"}, false, false},
		"JSON weighs more":  {[]string{"text/html;q=0.5, application/json;q=0.9"}, true, false},
		"JSON weighs less":  {[]string{"application/json;q=0.5, text/html"}, false, true},
		"HTML excluded":     {[]string{"*/*, text/html;q=0"}, true, false},
		"JSON excluded":     {[]string{"application/json;q=0"}, false, false},
		"JSON and excluded": {[]string{"application/json;q=0, */*;q=0.1"}, false, true},
		"several lines":     {[]string{"text/html;q=0.1", "application/json"}, true, false},
		"any application":   {[]string{"application/*"}, true, false},
		"parameters":        {[]string{"application/json;charset=utf-8;q=1"}, true, false},
		"nonsense weight":   {[]string{"application/json;q=NaN, text/html;q=0.1"}, false, true},
		"nonsense":          {[]string{";;,,q=1"}, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Accept"] = tt.accept
			if got := prefersJSON(r); got != tt.want {
				t.Errorf("prefersJSON(%q) = %v", tt.accept, got)
			}
			if got := prefersHTML(r); got != tt.html {
				t.Errorf("prefersHTML(%q) = %v", tt.accept, got)
			}
		})
	}
}
