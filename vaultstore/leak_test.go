package vaultstore_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/logtest"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// TestNothingInTheAuditLog does everything that the store can do and looks
// for what must not be in Vault's audit log.
func TestNothingInTheAuditLog(t *testing.T) {
	t.Parallel()
	v := vaulttest.Start(t)
	role, c := appRole(t, v, nil)
	secretID := role.SecretID(t)
	c.Auth = vaultstore.AppRoleAuth{Mount: role.Mount, RoleID: secret.New(role.RoleID), SecretID: secret.New(secretID)}
	put(t, v, c.Mount+"/data/hubspot-apps/hbdev", map[string]any{"client_id": "planted-client", "client_secret": "planted-client-secret"}, 0)
	s := open(t, c)
	r := record("planted-user@example.com")
	r.HubID = 918273645
	r.Scopes = []string{"planted.scope"}
	r.Claim = &connection.Claim{ID: "planted-claim", Owner: "planted-owner", For: "planted-for"}
	r.Extra = map[string]string{"later": "planted-extra"}
	mustSave(t, s, r, 0)
	mustSave(t, s, r, 1)
	if _, err := s.Save(t.Context(), r, 1); !errors.Is(err, connection.ErrConflict) {
		t.Fatalf("Save = %v; want ErrConflict", err)
	}
	if _, err := s.Load(t.Context(), r.Key); err != nil {
		t.Fatal(err)
	}
	if page, err := s.List(t.Context(), app, "", 10); err != nil || len(page.Records) != 1 {
		t.Fatalf("List = %d records, %v", len(page.Records), err)
	}
	if err := s.Erase(t.Context(), r.Key, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Credentials(t.Context(), c.Mount+"/hubspot-apps/hbdev"); err != nil {
		t.Fatal(err)
	}
	if err := s.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := readLog(t, v)
	if !strings.Contains(log, recordPath(t, s, r.Key)) {
		t.Fatal("the audit log does not have the record's path: it is not the right log")
	}
	for _, planted := range []string{
		"planted", "918273645", r.AccessToken.Reveal(), r.RefreshToken.Reveal(), r.WriteID, r.Generation, secretID, role.RoleID,
	} {
		if strings.Contains(log, planted) {
			t.Errorf("the audit log has %q in clear", planted)
		}
	}
}

// TestNothingInErrorsAndLogs makes every kind of error and looks for paths,
// ids, users and credentials in its text and in the log.
func TestNothingInErrorsAndLogs(t *testing.T) {
	v := vault.Server(t)
	mount := v.Mount(t)
	token := v.Token(t, map[string]any{"policies": v.Policy(t, "sidecar.hcl", mount, "+")})
	proxy := newProxy(t, v.Address)
	log := new(logtest.Buffer)
	s := open(t, vaultstore.Config{
		Address: proxy.URL, Mount: mount, Path: "hubspot", Logger: log.Logger(), Auth: vaultstore.TokenAuth{Token: secret.New(token)},
	})
	r := record("planted-user")
	mustSave(t, s, r, 0)
	id, err := s.ID(t.Context(), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	path := recordPath(t, s, r.Key)
	put(t, v, mount+"/data/"+recordPath(t, s, key("planted-broken")), map[string]any{"app": app, "user": 7}, 0)

	var texts []string
	try := func() {
		for _, user := range []string{"planted-user", "planted-nobody", "planted-broken"} {
			_, loading := s.Load(t.Context(), key(user))
			_, saving := s.Save(t.Context(), record(user), 7)
			_, listing := s.List(t.Context(), app, "", 3)
			_, reading := s.Credentials(t.Context(), mount+"/planted/credentials")
			for _, err := range []error{loading, saving, listing, reading, s.Erase(t.Context(), key(user), 9), s.Health(t.Context())} {
				if err != nil {
					texts = append(texts, err.Error())
				}
			}
		}
	}
	try()
	for _, code := range []int{400, 403, 404, 405, 412, 413, 429, 307, 302, 500, 502, 503} {
		proxy.answerWith(func(w http.ResponseWriter, req *http.Request) {
			if code < 400 {
				w.Header().Set("Location", "http://127.0.0.1:1"+req.URL.Path)
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(`{"errors":["something about \"` + req.URL.Path + `\" and ` + req.Header.Get("X-Vault-Token") + `"]}`))
		})
		try()
	}
	proxy.answerWith(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	try()
	proxy.Close()
	try()
	if len(texts) < 100 {
		t.Fatalf("only %d errors were made", len(texts))
	}
	texts = append(texts, log.String())
	// What the login's policy lacks is named as the policy has it, where a
	// glob stands for every id.
	rules := strings.NewReplacer(
		mount+"/data/hubspot/connections/hbdev/*", "RULE", mount+"/metadata/hubspot/connections/hbdev/*", "RULE",
		mount+"/destroy/hubspot/connections/hbdev/*", "RULE", mount+"/data/hubspot/apps/hbdev/key", "RULE",
		mount+"/data/planted/credentials", "RULE",
	)
	for _, text := range texts {
		text = rules.Replace(text)
		for _, planted := range []string{"planted", id, path, mount, token, "/v1/", "hubspot/"} {
			if strings.Contains(text, planted) {
				t.Errorf("%q stands in: %s", planted, text)
			}
		}
	}
}

// TestEnvironmentHasNoEffect sets everything that vault/api, or net/http,
// would take from the environment.
func TestEnvironmentHasNoEffect(t *testing.T) {
	v := vault.Server(t)
	role, c := appRole(t, v, nil)
	c.Auth = roleAuth(t, role)
	trap := newTrap(t)
	cert, certKey := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	vaulttest.NewAuthority(t, t.TempDir()).IssueClient(t, "planted", cert, certKey)
	for name, value := range map[string]string{
		"VAULT_ADDR": trap.URL, "VAULT_AGENT_ADDR": trap.URL, "VAULT_PROXY_ADDR": trap.URL, "VAULT_HTTP_PROXY": trap.URL,
		"HTTP_PROXY": trap.URL, "HTTPS_PROXY": trap.URL, "ALL_PROXY": trap.URL, "http_proxy": trap.URL, "NO_PROXY": "",
		"VAULT_TOKEN": "planted-token", "VAULT_NAMESPACE": "planted-namespace", "VAULT_HEADERS": `{"X-Planted": "planted"}`,
		"VAULT_SKIP_VERIFY": "true", "VAULT_CACERT": v.CAFile, "VAULT_CACERT_BYTES": "nonsense", "VAULT_CAPATH": filepath.Dir(v.CAFile),
		"VAULT_CLIENT_CERT": cert, "VAULT_CLIENT_KEY": certKey, "VAULT_TLS_SERVER_NAME": "planted.example",
		"VAULT_MAX_RETRIES": "5", "VAULT_CLIENT_TIMEOUT": "1ns", "VAULT_RATE_LIMIT": "0.001:1", "VAULT_SRV_LOOKUP": "true",
		"VAULT_DISABLE_REDIRECTS": "true", "VAULT_WRAP_TTL": "5m", "VAULT_FORMAT": "yaml", "BAO_ADDR": trap.URL, "BAO_TOKEN": "planted-token",
	} {
		t.Setenv(name, value)
	}
	works(t, open(t, c))

	// The certificate is of an authority that only the environment trusts.
	c.Address = v.TLSAddress
	_, err := open(t, c).Load(t.Context(), key("acme"))
	if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Load over TLS of an unknown authority = %v; want a refusal of the certificate", err)
	}
	c.TLS.CAFile = v.CAFile
	works(t, open(t, c))

	// A proxy would resolve the name.
	c.TLS = vaultstore.TLS{}
	c.Address = "http://vault.invalid:8200"
	if _, err := open(t, c).Load(t.Context(), key("acme")); !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("Load from a host that does not exist = %v; want ErrUnavailable", err)
	}
	if hits := trap.requests.Load(); hits > 0 {
		t.Errorf("%d requests went where the environment said", hits)
	}
}

// TestMalformedEnvironment has variables that vault/api cannot do without
// reading.
func TestMalformedEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"VAULT_HEADERS": "planted", "VAULT_CACERT": "/planted", "VAULT_CACERT_BYTES": "planted", "VAULT_CAPATH": "/planted",
		"VAULT_CLIENT_CERT": "/planted", "VAULT_CLIENT_KEY": "/planted", "VAULT_MAX_RETRIES": "planted",
		"VAULT_CLIENT_TIMEOUT": "planted", "VAULT_RATE_LIMIT": "planted", "VAULT_SKIP_VERIFY": "planted",
		"VAULT_SRV_LOOKUP": "planted", "VAULT_DISABLE_REDIRECTS": "planted", "VAULT_PROXY_ADDR": "http://u:planted@%",
		"VAULT_HTTP_PROXY": "http://u:planted@%",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			s, err := vaultstore.New(vaultstore.Config{
				Address: "http://127.0.0.1:1", Auth: vaultstore.TokenAuth{Token: secret.New("t")},
			})
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.HasSuffix(err.Error(), " "+name) || strings.Contains(err.Error(), "planted") {
				t.Errorf("New = %v; want an error that names the variable and not its value", err)
			}
		})
	}
}

func newTrap(t *testing.T) *proxy {
	t.Helper()
	trap := new(proxy)
	trap.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		trap.requests.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(trap.Close)
	return trap
}
