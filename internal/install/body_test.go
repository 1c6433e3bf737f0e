package install

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHasBody(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		major  int
		length int64
		body   string
		want   bool
	}{
		"HTTP/1 without":          {1, 0, "", false},
		"HTTP/1 with":             {1, 1, "x", true},
		"HTTP/1 chunked":          {1, -1, "x", true},
		"HTTP/3 without a length": {3, -1, "", false},
		"HTTP/3 with":             {3, -1, "x", true},
		"HTTP/2 without a length": {2, -1, "", false},
		"HTTP/2 with":             {2, 1, "x", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(tt.body))
			r.ProtoMajor, r.ContentLength = tt.major, tt.length
			if got := hasBody(httptest.NewRecorder(), r); got != tt.want {
				t.Errorf("hasBody() = %v", got)
			}
		})
	}
}
