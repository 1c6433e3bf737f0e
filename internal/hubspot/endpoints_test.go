package hubspot_test

import (
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

func TestEndpointsDefaults(t *testing.T) {
	var e hubspot.Endpoints
	if err := e.Validate(); err != nil {
		t.Fatalf("zero Endpoints: %v", err)
	}
	want := hubspot.Endpoints{
		API:       "https://api.hubapi.com",
		Authorize: "https://app.hubspot.com/oauth/authorize",
		Version:   "2026-09",
	}
	if got := e.WithDefaults(); got != want {
		t.Errorf("WithDefaults() = %+v, want %+v", got, want)
	}
	urls := map[string]string{
		e.TokenURL():      "https://api.hubapi.com/oauth/2026-09/token",
		e.RevokeURL():     "https://api.hubapi.com/oauth/2026-09/token/revoke",
		e.IntrospectURL(): "https://api.hubapi.com/oauth/2026-09/token/introspect",
	}
	for got, want := range urls {
		if got != want {
			t.Errorf("got URL %q, want %q", got, want)
		}
	}
	set := hubspot.Endpoints{API: "http://localhost:4000", Version: "2027-03-beta"}
	if got := set.TokenURL(); got != "http://localhost:4000/oauth/2027-03-beta/token" {
		t.Errorf("TokenURL() = %q", got)
	}
}

func TestEndpointsValidate(t *testing.T) {
	tests := map[string]struct {
		endpoints hubspot.Endpoints
		want      []string // parts of the error; none means valid
	}{
		"sandbox on localhost":    {hubspot.Endpoints{API: "http://localhost:4000", Authorize: "http://localhost:4000/oauth/authorize"}, nil},
		"sandbox on IPv4":         {hubspot.Endpoints{API: "http://127.0.0.9:4000"}, nil},
		"sandbox on IPv6":         {hubspot.Endpoints{API: "http://[::1]:4000"}, nil},
		"region":                  {hubspot.Endpoints{API: "https://api-eu1.hubapi.com"}, nil},
		"fixed account":           {hubspot.Endpoints{Authorize: "https://app.hubspot.com/oauth/123/authorize"}, nil},
		"http on a public host":   {hubspot.Endpoints{API: "http://api.hubapi.com"}, []string{"api", "https"}},
		"localhost as a prefix":   {hubspot.Endpoints{API: "http://localhost.example.com"}, []string{"api", "https"}},
		"other scheme":            {hubspot.Endpoints{API: "ftp://api.hubapi.com"}, []string{"api", "https://"}},
		"no scheme":               {hubspot.Endpoints{API: "api.hubapi.com"}, []string{"api", "https://"}},
		"no host":                 {hubspot.Endpoints{API: "https://:443"}, []string{"api", "host"}},
		"path":                    {hubspot.Endpoints{API: "https://api.hubapi.com/v1"}, []string{"api", "without a path"}},
		"slash":                   {hubspot.Endpoints{API: "https://api.hubapi.com/"}, []string{"api", "slash"}},
		"query":                   {hubspot.Endpoints{API: "https://api.hubapi.com?x"}, []string{"api", "query"}},
		"empty fragment":          {hubspot.Endpoints{API: "https://api.hubapi.com#"}, []string{"api", "fragment"}},
		"user info":               {hubspot.Endpoints{API: "https://me:pw@api.hubapi.com"}, []string{"api", "user name"}},
		"port out of range":       {hubspot.Endpoints{API: "https://api.hubapi.com:65536"}, []string{"api", "port"}},
		"empty port":              {hubspot.Endpoints{API: "https://api.hubapi.com:"}, []string{"api", "port"}},
		"not a URL":               {hubspot.Endpoints{API: "https://a b"}, []string{"api", "not a URL"}},
		"authorize on http":       {hubspot.Endpoints{Authorize: "http://app.hubspot.com/oauth/authorize"}, []string{"authorize", "https"}},
		"authorize with query":    {hubspot.Endpoints{Authorize: "https://app.hubspot.com/oauth/authorize?a=b"}, []string{"authorize", "query"}},
		"authorize without path":  {hubspot.Endpoints{Authorize: "https://app.hubspot.com"}, []string{"authorize", "path"}},
		"version of old":          {hubspot.Endpoints{Version: "v1"}, []string{"version", "2026-09"}},
		"version with more":       {hubspot.Endpoints{Version: "2026-09/../v1"}, []string{"version"}},
		"version with a new line": {hubspot.Endpoints{Version: "2026-09\n"}, []string{"version"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.endpoints.Validate()
			if tt.want == nil {
				if err != nil {
					t.Errorf("Validate() = %v, want none", err)
				}
				return
			}
			if err == nil {
				t.Fatal("Validate() = nil, want an error")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Validate() = %q, want it to hold %q", err, part)
				}
			}
		})
	}
}
