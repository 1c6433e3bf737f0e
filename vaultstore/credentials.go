package vaultstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// Fields of a secret with a HubSpot app's credentials.
const (
	fieldClientID         = "client_id"
	fieldClientSecret     = "client_secret"
	fieldClientSecretNext = "client_secret_next"
)

// ErrBadCredentials means that Vault answered and has no usable credentials
// at the path: nothing, or a secret without the fields that are needed.
var ErrBadCredentials = errors.New("no usable client credentials in vault")

// Credentials are a HubSpot app's, as kept in Vault.
type Credentials struct {
	// ClientID is the app's client id.
	ClientID string
	// ClientSecret is the app's client secret.
	ClientSecret secret.Text
	// ClientSecretNext is accepted beside ClientSecret while it is being
	// rotated; usually empty.
	ClientSecretNext secret.Text
	// Version is the secret's version.
	Version uint64
}

// CheckCredentialsPath reports what is wrong with a path for Credentials.
func CheckCredentialsPath(path string) error {
	mount, rest, _ := strings.Cut(path, "/")
	if mount == "" || rest == "" || checkSegments("path", path) != nil {
		return errors.New("want the mount and the path of a KV v2 secret, such as secret/hubspot-apps/hbdev: " +
			"names of letters, digits, '_', '.' and '-' with '/' between them")
	}
	return nil
}

// Credentials reads the fields client_id, client_secret and (optional)
// client_secret_next of a KV v2 secret, such as secret/hubspot-apps/hbdev.
// Vault says how much of the path is the mount. Errors wrap
// [ErrBadCredentials], [connection.ErrDenied] or [connection.ErrUnavailable].
func (s *Store) Credentials(ctx context.Context, path string) (_ Credentials, err error) {
	defer saying("reading client credentials", &err)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := CheckCredentialsPath(path); err != nil {
		return Credentials{}, fmt.Errorf("%w: %w", ErrBadCredentials, err)
	}
	mount, err := s.mountOf(ctx, path)
	if err != nil {
		return Credentials{}, err
	}
	s.credentialMounts.Store(path, mount)
	rest, ok := strings.CutPrefix(path, mount+"/")
	if !ok {
		return Credentials{}, fmt.Errorf("%w: the path ends at the mount", ErrBadCredentials)
	}
	got, err := s.get(ctx, mount, rest, credentialsRule(mount, rest))
	switch {
	case errors.Is(err, connection.ErrNotFound):
		return Credentials{}, fmt.Errorf("%w: there is no secret at the path", ErrBadCredentials)
	case err != nil:
		return Credentials{}, err
	case got.Data == nil:
		return Credentials{}, fmt.Errorf("%w: the secret's newest version is deleted", ErrBadCredentials)
	}
	return readCredentials(got)
}

func readCredentials(got *api.KVSecret) (Credentials, error) {
	fields, err := fieldsOf(got)
	if err != nil {
		return Credentials{}, fmt.Errorf("%w: %w", ErrBadCredentials, err)
	}
	for _, name := range []string{fieldClientID, fieldClientSecret} {
		if strings.TrimSpace(fields[name]) == "" {
			return Credentials{}, fmt.Errorf("%w: field %q is missing", ErrBadCredentials, name)
		}
	}
	return Credentials{
		ClientID:         fields[fieldClientID],
		ClientSecret:     secret.New(fields[fieldClientSecret]),
		ClientSecretNext: secret.New(fields[fieldClientSecretNext]),
		Version:          uint64(got.VersionMetadata.Version),
	}, nil
}
