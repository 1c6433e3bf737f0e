package vaultstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"regexp"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// idLength is the number of hex digits of an id.
const idLength = 32

// apiPath is a path of the store, with its mount, as it may go to vault/api.
// Everything else is a mistake of this package that must not leave it:
// vault/api walks dots out of the mount, and Vault may do so with escapes
// (CVE-2026-3605).
var apiPath = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*/){2,}` +
	`(apps/[a-z0-9][a-z0-9._-]{0,63}/key|control/[a-z]{1,32}|connections/[a-z0-9][a-z0-9._-]{0,63}(/ledger/[a-z0-9]{1,32}|/[0-9a-f]{2}(/[0-9a-f]{32})?)?)$`)

var (
	appName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	isID    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	isShard = regexp.MustCompile(`^[0-9a-f]{2}/$`)
)

var errAppName = errors.New("the app's name must be 1 to 64 of a-z, 0-9, '.', '_' and '-', and start with a letter or digit")

// paths makes the paths of one store, below its mount.
type paths struct{ mount, prefix string }

func (p paths) idKey(app string) (string, error) {
	return p.join("apps", app, "/key")
}

// document is the path of a document for all apps.
func (p paths) document(name string) (string, error) {
	return p.check(p.prefix + "/control/" + name)
}

// record is the path of a connection.
func (p paths) record(app, id string) (string, error) {
	if !isID.MatchString(id) {
		return "", errors.New("the id is not one of this store")
	}
	return p.join("connections", app, "/"+id[:2]+"/"+id)
}

// sheet is the path of a sheet of the app's ledger. It is below the app's
// connections, so that their rule covers it, and no shard.
func (p paths) sheet(app, name string) (string, error) {
	return p.join("connections", app, "/ledger/"+name)
}

// shards is the folder of an app's shards.
func (p paths) shards(app string) (string, error) {
	return p.join("connections", app, "")
}

// shard is the folder of an app's ids that start with two hex digits.
func (p paths) shard(app, digits string) (string, error) {
	return p.join("connections", app, "/"+digits)
}

func (p paths) join(folder, app, rest string) (string, error) {
	if !appName.MatchString(app) {
		return "", errAppName
	}
	return p.check(p.prefix + "/" + folder + "/" + app + rest)
}

func (p paths) check(path string) (string, error) {
	if !apiPath.MatchString(p.mount + "/" + path) {
		return "", errors.New("the path is not one of this store")
	}
	return path, nil
}

// makeID hashes a key.
func makeID(idKey []byte, key connection.Key) string { return hashParts(idKey, key.App, key.User) }

// makeMark hashes a text for an app's ledger. It has one part more than a key,
// so that no text has the mark that is a connection's id.
func makeMark(idKey []byte, app, text string) string { return hashParts(idKey, "ledger", app, text) }

// hashParts hashes texts. The lengths keep ("a", "bc") and ("ab", "c") apart.
func hashParts(idKey []byte, parts ...string) string {
	h := hmac.New(sha256.New, idKey)
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))[:idLength]
}
