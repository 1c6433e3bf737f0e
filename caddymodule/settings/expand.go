package settings

import (
	"net/http"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// Expand expands the placeholders of a value. One that is unknown or empty is
// an error, which does not hold what others stand for.
func Expand(value string) (string, error) {
	text, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err == nil {
		return text, nil
	}
	// To Caddy, a file that cannot be read is an empty one.
	if file, ok := filePlaceholder(value); ok {
		if _, unreadable := os.ReadFile(file); unreadable != nil {
			return "", unreadable
		}
	}
	return "", err
}

// filePlaceholder returns the name of the file that a value stands for, if it
// is nothing but the placeholder of one.
func filePlaceholder(value string) (file string, ok bool) {
	file, ok = strings.CutPrefix(value, "{file.")
	if !ok {
		return "", false
	}
	file, ok = strings.CutSuffix(file, "}")
	return file, ok && !strings.ContainsAny(file, "{}")
}

// NewExpander returns an expander of the placeholders that Caddy knows when a
// config is loaded.
func NewExpander() *placeholder.Expander { return placeholder.NewExpander(Expand) }

// defaultUser is the setting user if there is none.
const defaultUser = "{http.request.header.X-HubSpot-User}"

// UserSource takes the setting user apart: the placeholder of one header,
// other placeholders, which are replaced for each request, or the user of
// every request. Empty is the header X-HubSpot-User. An error does not begin
// with the name of the setting.
//
// A header is taken as it is: what a client has sent is never searched for
// placeholders.
func UserSource(setting string) (userid.Source, error) {
	if setting == "" {
		setting = defaultUser
	}
	if name, ok := headerPlaceholder(setting); ok {
		return userid.Source{Header: http.CanonicalHeaderKey(name)}, nil
	}
	if !strings.Contains(setting, "{") {
		return userid.Source{Constant: setting}, userid.Check(setting)
	}
	return userid.Source{Lookup: func(r *http.Request) string {
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		user, err := repl.ReplaceOrErr(setting, true, true)
		if err != nil {
			// A placeholder without a value is a request without a user.
			return ""
		}
		return user
	}}, nil
}

// headerPlaceholder returns the name of the header that a setting stands for,
// if it is nothing but the placeholder of one.
func headerPlaceholder(setting string) (name string, ok bool) {
	name, ok = strings.CutPrefix(setting, "{http.request.header.")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "}")
	return name, ok && name != "" && !strings.ContainsAny(name, "{}")
}
