package chaos_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
)

// configure writes the Caddyfile, which is that of a production setup but for
// the addresses.
func (s *sidecar) configure(t *testing.T, h *hubspot, v *vaultTap) {
	t.Helper()
	if err := os.WriteFile(s.path("secret_id"), []byte(v.role.SecretID(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "CALLER_KEY="+callerKey, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	var apps, routes strings.Builder
	for _, app := range h.apps {
		variable := strings.ToUpper(app.name) + "_SECRET"
		s.env = append(s.env, variable+"="+app.clientSecret)
		fmt.Fprintf(&apps, `
		app %s {
			client_id %s
			client_secret {env.%s}
			scopes oauth crm.objects.contacts.read
			redirect_uri http://localhost/hubspot/%[1]s/callback
			refresh_quota 100 1s
		}`, app.name, app.clientID, variable)
		fmt.Fprintf(&routes, `
	handle_path /%s/* {
		hubspot_proxy %[1]s
	}`, app.name)
	}
	fallback := ""
	if s.number == len(v.urls)-1 {
		// The last one keeps copies of what it knows on disk.
		s.env = append(s.env, "FALLBACK_KEY="+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)))
		fallback = fmt.Sprintf(`
		fallback_cache %s {
			key {env.FALLBACK_KEY}
			max_age 1h
		}`, s.path("fallback"))
	}
	s.config = fmt.Appendf(nil, `{
	admin unix/%[1]s/admin.sock
	persist_config off
	storage file_system %[1]s/storage
	grace_period 5s
	log default {
		output stderr
		format json
	}
	hubspot {
		store vault %[2]s {
			mount %[3]s
			auth approle {
				mount %[4]s
				role_id %[5]s
				secret_id_file %[1]s/secret_id
			}
		}%[6]s%[9]s
		caller chaos {
			key {env.CALLER_KEY}
		}
		endpoints {
			api %[7]s
			authorize %[7]s/oauth/authorize
		}
	}
}
http://localhost {
	bind unix/%[1]s/site.sock
	hubspot_auth {
		rate 100000 1m
	}%[8]s
}
`, s.dir, v.urls[s.number], v.mount, v.role.Mount, v.role.RoleID, apps.String(), h.urls[s.number], routes.String(), fallback)
	if err := os.WriteFile(s.path("Caddyfile"), s.config, 0o600); err != nil {
		t.Fatal(err)
	}
}
