package vaultstore

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultMount   = "secret"
	DefaultPath    = "hubspot"
	DefaultTimeout = 3 * time.Second
)

// Config says where Vault is and how to log in to it. Address and Auth are
// required. Nothing else, no environment variable in particular, has an
// influence on the store; but see the package's comment on malformed ones.
type Config struct {
	// Address is the URL of Vault, or of a Vault Agent or Proxy.
	Address string
	// Mount is the path of the KV v2 secrets engine; DefaultMount if empty.
	Mount string
	// Path is the prefix under the mount; DefaultPath if empty.
	Path string
	// Namespace is a namespace of Vault Enterprise or OpenBao; empty for none.
	Namespace string
	// TLS has the settings of an https address.
	TLS TLS
	// Timeout bounds every call of the store; DefaultTimeout if zero. A
	// listing makes many requests: it bounds each of those.
	Timeout time.Duration
	// Auth is how to log in: one of [TokenAuth], [TokenFileAuth],
	// [AppRoleAuth], [KubernetesAuth], [JWTAuth] and [CertAuth].
	Auth Auth
	// Logger gets logins and outages; nil discards them.
	Logger *slog.Logger
}

// TLS has the settings of a TLS connection to Vault. The zero value trusts
// the system's authorities and sends no client certificate.
type TLS struct {
	// CAFile holds the authorities to trust instead of the system's, as
	// PEM. It is read once.
	CAFile string
	// ClientCertFile and ClientKeyFile hold a client certificate and its
	// key, as PEM. They are read again for every new connection.
	ClientCertFile, ClientKeyFile string
	// ServerName is the name to expect in Vault's certificate instead of
	// the address's host.
	ServerName string
}

var (
	segments  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)
	namespace = regexp.MustCompile(`^[^/\s?#%]+(/[^/\s?#%]+)*$`)
)

// withDefaults checks the configuration and fills in what is not set.
func (c Config) withDefaults() (Config, error) {
	c.Mount = cmp.Or(strings.Trim(c.Mount, "/"), DefaultMount)
	c.Path = cmp.Or(strings.Trim(c.Path, "/"), DefaultPath)
	c.Namespace = strings.Trim(c.Namespace, "/")
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(
		c.checkAddress(),
		checkSegments("mount", c.Mount),
		checkSegments("path", c.Path),
		c.checkRest(),
	)
}

func (c Config) checkAddress() error {
	u, err := url.Parse(c.Address)
	switch {
	case c.Address == "":
		return errors.New("address is missing; want the URL of Vault, such as https://vault.example.com:8200")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("address is not a URL of Vault; want one such as https://vault.example.com:8200")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("address must have no user, query or fragment")
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v1"):
		return errors.New("address must not end in /v1: that is added to it")
	case u.Scheme == "http" && c.TLS != TLS{}:
		return errors.New("address is plain http; ca, client_cert, client_key and server_name need https")
	}
	return nil
}

func (c Config) checkRest() error {
	switch {
	case c.Namespace != "" && !namespace.MatchString(c.Namespace):
		return errors.New("namespace is not a path of names")
	case c.Timeout < 0:
		return fmt.Errorf("timeout is %v; want a positive duration", c.Timeout)
	case (c.TLS.ClientCertFile == "") != (c.TLS.ClientKeyFile == ""):
		return errors.New("client_cert and client_key must be set together")
	case c.Auth == nil:
		return errors.New("auth is missing; want token, token_file, approle, kubernetes, jwt or cert")
	}
	if err := c.Auth.check(c); err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	return nil
}

// checkSegments holds that a path of the configuration reads the same for
// Vault, proxies and policies: no dots, globs, spaces or escapes.
func checkSegments(name, value string) error {
	if segments.MatchString(value) {
		return nil
	}
	return fmt.Errorf("%s must be names of letters, digits, '_', '.' and '-' with '/' between them", name)
}

// isPlainRemote reports whether tokens leave this machine in clear.
func (c Config) isPlainRemote() bool {
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}
