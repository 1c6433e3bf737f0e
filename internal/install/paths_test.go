package install

import (
	"net/url"
	"strings"
	"testing"
)

func TestBasePathFind(t *testing.T) {
	t.Parallel()
	long := "/hubspot/connections/hbdev/a%2Fb%20c%40d.example%25"
	tests := map[string]struct {
		base, path string
		want       Path
	}{
		"link":                      {"/hubspot", "/hubspot/auth/hbdev", Path{EndpointLink, "hbdev", ""}},
		"link in another case":      {"/hubspot", "/hubspot/auth/HbDev", Path{EndpointLink, "HbDev", ""}},
		"connect":                   {"/hubspot", "/hubspot/hbdev/connect", Path{EndpointConnect, "hbdev", ""}},
		"list":                      {"/hubspot", "/hubspot/connections/hbdev", Path{EndpointList, "hbdev", ""}},
		"one":                       {"/hubspot", "/hubspot/connections/hbdev/acme", Path{EndpointConnection, "hbdev", "acme"}},
		"user with slashes":         {"/hubspot", long, Path{EndpointConnection, "hbdev", "a/b c@d.example%"}},
		"user of dots":              {"/hubspot", "/hubspot/connections/hbdev/%2E%2E", Path{EndpointConnection, "hbdev", ".."}},
		"user not encoded":          {"/hubspot", "/hubspot/connections/hbdev/a/b", Path{EndpointConnection, "hbdev", ""}},
		"no user":                   {"/hubspot", "/hubspot/connections/hbdev/", Path{EndpointConnection, "hbdev", ""}},
		"tokens":                    {"/hubspot", "/hubspot/tokens/HbDev", Path{EndpointTokens, "HbDev", ""}},
		"tokens of more":            {"/hubspot", "/hubspot/tokens/hbdev/x", Path{}},
		"root":                      {"/", "/auth/hbdev", Path{EndpointLink, "hbdev", ""}},
		"deep":                      {"/a/b", "/a/b/hbdev/connect", Path{EndpointConnect, "hbdev", ""}},
		"encoded letters":           {"/hubspot", "/h%75bspot/%61uth/hbdev", Path{EndpointLink, "hbdev", ""}},
		"base only":                 {"/hubspot", "/hubspot", Path{}},
		"base with a slash":         {"/hubspot", "/hubspot/", Path{}},
		"app only":                  {"/hubspot", "/hubspot/hbdev", Path{}},
		"other verb":                {"/hubspot", "/hubspot/hbdev/disconnect", Path{}},
		"other base":                {"/hubspot", "/hubspots/auth/hbdev", Path{}},
		"base with a slash encoded": {"/a/b", "/a%2Fb/auth/hbdev", Path{}},
		"more":                      {"/hubspot", "/hubspot/auth/hbdev/x", Path{}},
		"front page":                {"/", "/", Path{}},
		"dots and slashes encoded":  {"/hubspot", "/hubspot/connections/hbdev/..%2F..%2Fx", Path{EndpointConnection, "hbdev", "../../x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, err := ParseBase(tt.base)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.ParseRequestURI(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := base.Find(u); got != tt.want {
				t.Errorf("Find(%q) = %+v, want %+v", tt.path, got, tt.want)
			}
		})
	}
}

func TestBasePathRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"hubspot", "/hubspot/", "//x", "/a/../b", "/a//b", "/a*", "/{env.X}", "/a%2Fb", "/a b", "/a?b", `/a\b`} {
		if _, err := ParseBase(text); err == nil || !strings.Contains(err.Error(), "base_path") {
			t.Errorf("ParseBase(%q) = %v", text, err)
		}
	}
	if base, err := ParseBase(""); err != nil || base.text != DefaultBase {
		t.Errorf("the default is %q, %v", base.text, err)
	}
}
