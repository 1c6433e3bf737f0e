package natsqueue_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/natsqueue"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*natsqueue.Config)
		want   string // empty if it is right
	}{
		{"minimal", func(*natsqueue.Config) {}, ""},
		{"two servers", func(c *natsqueue.Config) { c.URLs = []string{"nats://a:4222", "tls://b"} }, ""},
		{"no server", func(c *natsqueue.Config) { c.URLs = nil }, "url is missing"},
		{"http", func(c *natsqueue.Config) { c.URLs = []string{"http://a"} }, `url "http://a": give one such as nats://`},
		{"no scheme", func(c *natsqueue.Config) { c.URLs = []string{"a:4222"} }, "give one such as nats://"},
		{"path", func(c *natsqueue.Config) { c.URLs = []string{"nats://a/x"} }, "give one such as nats://"},
		{"user in the url", func(c *natsqueue.Config) { c.URLs = []string{"nats://u:planted-secret@a"} }, "url: it holds a user or password"},
		{"broken with a user", func(c *natsqueue.Config) { c.URLs = []string{"nats://u:planted-secret%@a"} }, "without a user"},
		{"no stream", func(c *natsqueue.Config) { c.Stream = "" }, `stream ""`},
		{"dotted stream", func(c *natsqueue.Config) { c.Stream = "a.b" }, `stream "a.b"`},
		{"wildcard", func(c *natsqueue.Config) { c.Subject = "a.>" }, `subject "a.>"`},
		{"system subject", func(c *natsqueue.Config) { c.Subject = "$JS" }, `subject "$JS"`},
		{"replicas", func(c *natsqueue.Config) { c.Replicas = 6 }, "replicas 6"},
		{"size", func(c *natsqueue.Config) { c.MaxBytes = -1 }, "max_size -1"},
		{"no password", func(c *natsqueue.Config) { c.User = "u" }, "password is missing"},
		{"no user", func(c *natsqueue.Config) { c.Password = secret.New("planted-secret") }, "user is missing"},
		{"two logins", func(c *natsqueue.Config) {
			c.User, c.Password, c.Token = "u", secret.New("planted-secret"), secret.New("planted-secret")
		}, "give one of credentials, user with password, and token"},
		{"credentials that are not there", func(c *natsqueue.Config) { c.CredentialsFile = empty + ".no" }, "credentials: open "},
		{"no authority", func(c *natsqueue.Config) { c.TLS.CAFile = empty }, "ca: there is no certificate in "},
		{"no key", func(c *natsqueue.Config) { c.TLS.ClientCertFile = empty }, "client_key is missing"},
		{"no certificate", func(c *natsqueue.Config) { c.TLS.ClientKeyFile = empty }, "client_cert is missing"},
		{"no pair", func(c *natsqueue.Config) { c.TLS.ClientCertFile, c.TLS.ClientKeyFile = empty, empty }, "client_cert and client_key: "},
	} {
		config := natsqueue.Config{URLs: []string{"nats://a"}, Stream: "S", Subject: "s"}
		tc.change(&config)
		err := config.Check()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: Check: %v; want %q", tc.name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "planted-secret") {
			t.Errorf("%s: the error holds a secret: %v", tc.name, err)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{
		"2.12.1": true, "2.15.3": true, "3.0.0": true, "2.13.0-RC.1": true, "dev": true,
		"2.12.0": false, "2.11.9": false, "1.4.1": false,
	} {
		if err := natsqueue.CheckVersion(version); (err == nil) != ok {
			t.Errorf("version %s: %v", version, err)
		}
	}
}
