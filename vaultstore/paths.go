package vaultstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// idLength is the number of hex digits of an id.
const idLength = 32

// apiPath is a path of the store as it may go to Vault. Everything else is a
// mistake of this package that must not leave it: a path with dots in it can
// reach another mount (CVE-2026-3605).
var apiPath = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*/)+(data|metadata|destroy)/([A-Za-z0-9_][A-Za-z0-9._-]*/)+` +
	`(apps/[a-z0-9][a-z0-9._-]{0,63}/key|connections/[a-z0-9][a-z0-9._-]{0,63}(/[0-9a-f]{2}(/[0-9a-f]{32})?)?)$`)

var (
	appName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	isID    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	isShard = regexp.MustCompile(`^[0-9a-f]{2}/$`)
)

var errAppName = errors.New("the app's name must be 1 to 64 of a-z, 0-9, '.', '_' and '-', and start with a letter or digit")

// paths makes the paths of one store.
type paths struct{ mount, prefix string }

func (p paths) idKey(app string) (string, error) {
	return p.join("data", "apps", app, "key")
}

// record is the path of a connection in one of the parts data, metadata and
// destroy.
func (p paths) record(part, app, id string) (string, error) {
	if !isID.MatchString(id) {
		return "", errors.New("the id is not one of this store")
	}
	return p.join(part, "connections", app, id[:2]+"/"+id)
}

// shards is the folder of an app's shards.
func (p paths) shards(app string) (string, error) {
	return p.join("metadata", "connections", app, "")
}

// shard is the folder of an app's ids that start with two hex digits.
func (p paths) shard(app, digits string) (string, error) {
	return p.join("metadata", "connections", app, digits)
}

func (p paths) join(part, folder, app, rest string) (string, error) {
	if !appName.MatchString(app) {
		return "", errAppName
	}
	path := fmt.Sprintf("%s/%s/%s/%s/%s", p.mount, part, p.prefix, folder, app)
	if rest != "" {
		path += "/" + rest
	}
	if !apiPath.MatchString(path) {
		return "", errors.New("the path is not one of this store")
	}
	return path, nil
}

// makeID hashes a key. The lengths keep ("a", "bc") and ("ab", "c") apart.
func makeID(idKey []byte, key connection.Key) string {
	h := hmac.New(sha256.New, idKey)
	for _, part := range []string{key.App, key.User} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))[:idLength]
}
