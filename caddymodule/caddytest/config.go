package caddytest

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// AuthAndProxy is a site with hubspot_auth and hubspot_proxy.
const AuthAndProxy = "hubspot_auth\n hubspot_proxy hbdev"

// Caddyfile returns a Caddyfile with the app hbdev and the caller tester, more
// settings for the hubspot option, and the content of the site.
func Caddyfile(global, site string) string {
	return `{
	hubspot {
		app hbdev {
			client_id       {env.HUBSPOT_CLIENT_ID}
			client_secret   {env.HUBSPOT_CLIENT_SECRET}
			scopes          oauth crm.objects.contacts.read
			optional_scopes crm.objects.contacts.write crm.objects.companies.read
			redirect_uri    ` + RedirectURI + `
		}
		caller tester {
			key {env.CALLER_KEY}
		}
		endpoints {
			api       SANDBOX
			authorize SANDBOX/oauth/authorize
		}
		` + global + `
	}
}
http://localhost:0 {
	` + site + `
}
`
}

// WithAPI has a Caddyfile call another API than the sandbox.
func WithAPI(caddyfile, api string) string {
	caddyfile = strings.Replace(caddyfile, "api       SANDBOX", "api       "+api, 1)
	return strings.Replace(caddyfile, "authorize SANDBOX", "authorize "+api, 1)
}

// Unpaced has the app hbdev of a Caddyfile have a quota that no test reaches.
func Unpaced(caddyfile string) string { return WithQuota(caddyfile, "100000 1s") }

// WithQuota has the app hbdev of a Caddyfile have another quota.
func WithQuota(caddyfile, quota string) string {
	return strings.Replace(caddyfile, "client_id ", "quota "+quota+"\n\t\t\tclient_id ", 1)
}

// Adapt turns a Caddyfile into the JSON config that [Harness.Load] loads.
func (h *Harness) Adapt(text string) ([]byte, error) {
	text = strings.NewReplacer("SANDBOX", h.SandboxURL, "DIR", h.Dir).Replace(text)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(adapted, &config); err != nil {
		return nil, err
	}
	h.isolate(config)
	return json.Marshal(config)
}

// isolate keeps a config away from everything outside the test.
func (h *Harness) isolate(config map[string]any) {
	admin := map[string]any{"disabled": true, "config": map[string]any{"persist": h.autosave}}
	if h.admin {
		admin["disabled"] = false
		admin["listen"] = "unix/" + h.AdminSocket()
	}
	config["admin"] = admin
	if config["storage"] == nil {
		config["storage"] = map[string]any{"module": "file_system", "root": filepath.Join(h.Dir, "storage")}
	}
	log := Child(Child(Child(config, "logging"), "logs"), "default")
	log["writer"] = map[string]any{"output": "hubspot_test", "test": h.T.Name()}
	log["level"] = "DEBUG"
	if log["encoder"] == nil {
		log["encoder"] = map[string]any{"format": "json"}
	}
	for _, server := range Child(Child(Child(config, "apps"), "http"), "servers") {
		server := server.(map[string]any)
		server["listen"] = []string{h.listen}
		server["automatic_https"] = map[string]any{"disable": true}
	}
}

// Child returns an object within another of a config, and makes it if it is not
// there.
func Child(parent map[string]any, name string) map[string]any {
	if value, ok := parent[name].(map[string]any); ok {
		return value
	}
	value := make(map[string]any)
	parent[name] = value
	return value
}

// Load loads a Caddyfile, as a reload if Caddy is running. SANDBOX stands for
// the sandbox's address and DIR for the test's directory. Sites must have the
// address http://localhost:0. See [Caddyfile].
func (h *Harness) Load(text string) error {
	config, err := h.Adapt(text)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}
