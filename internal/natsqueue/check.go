package natsqueue

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
)

var (
	streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	subject    = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// Check says what is wrong with the settings, by the name that they have in a config.
// It reads the files that they name, and touches no network.
func (c *Config) Check() error {
	if len(c.URLs) == 0 {
		return errors.New("url is missing: give one such as nats://nats.internal:4222")
	}
	for _, text := range c.URLs {
		if err := CheckURL(text); err != nil {
			return err
		}
	}
	switch {
	case !streamName.MatchString(c.Stream):
		return fmt.Errorf("stream %q: give a name of letters, digits, - and _, at most 64, such as HUBSPOT_WEBHOOKS", c.Stream)
	case !subject.MatchString(c.Subject):
		return fmt.Errorf("subject %q: give what all subjects begin with, of letters, digits, - and _ between dots, such as hubspot.webhooks", c.Subject)
	case c.MaxBytes < 0:
		return fmt.Errorf("max_size %d: give a size such as 1GiB", c.MaxBytes)
	case c.Replicas < 0 || c.Replicas > 5:
		return fmt.Errorf("replicas %d: give a number from 1 to 5, and no more than there are servers", c.Replicas)
	case c.User == "" && !c.Password.IsZero():
		return errors.New("password: user is missing")
	case c.User != "" && c.Password.IsZero():
		return errors.New("user: password is missing")
	}
	ways := 0
	for _, given := range []bool{c.CredentialsFile != "", c.User != "", !c.Token.IsZero()} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return errors.New("give one of credentials, user with password, and token")
	}
	if c.CredentialsFile != "" {
		if _, err := os.ReadFile(c.CredentialsFile); err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
	}
	_, err := c.TLS.config()
	return err
}

// CheckURL says what is wrong with the address of a server.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil:
		// It is not repeated: there may be a password in it.
		return errors.New("url: it holds a user or password; give these with user and password, token or credentials")
	case err != nil && strings.Contains(text, "@"):
		return errors.New("url: give one such as nats://nats.internal:4222, without a user")
	case err != nil, u.Host == "", u.Scheme != "nats" && u.Scheme != "tls", u.Path != "", u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("url %q: give one such as nats://nats.internal:4222 or tls://nats.internal:4222", text)
	}
	return nil
}

// config returns nil if nothing is set.
func (t TLS) config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: there is no certificate in %s", t.CAFile)
		}
	}
	switch {
	case t.ClientCertFile == "" && t.ClientKeyFile == "":
		return config, nil
	case t.ClientCertFile == "":
		return nil, errors.New("client_key: client_cert is missing")
	case t.ClientKeyFile == "":
		return nil, errors.New("client_cert: client_key is missing")
	}
	pair, err := tls.LoadX509KeyPair(t.ClientCertFile, t.ClientKeyFile)
	if err != nil {
		return nil, fmt.Errorf("client_cert and client_key: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
