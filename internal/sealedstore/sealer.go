package sealedstore

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// A sealed record is
//
//	magic (4) | nonce (24) | ciphertext | tag (16)
//
// with XChaCha20-Poly1305, whose nonces are long enough to be random for any
// number of writes (AES-GCM's are for 2^32 of them). Magic and the record's
// name in the storage are authenticated. What is encrypted is JSON.
const magic = "hsr\x01" // the last byte is the version of the format

// Each use has a key of its own, derived from the operator's.
const (
	sealInfo   = "caddy-hubspot store v1 seal"
	idInfo     = "caddy-hubspot store v1 id"
	keyIDInfo  = "caddy-hubspot store v1 key id"
	idSize     = 16
	idLength   = 2 * idSize // in hex
	shardChars = 2
)

// document is what is sealed.
type document struct {
	Version uint64            `json:"version"`
	Fields  map[string]string `json:"fields"`
}

// sealer does all that needs a key.
type sealer struct {
	aead  cipher.AEAD
	idKey []byte
	// keyID tells keys apart and shows nothing of them.
	keyID string
}

func newSealer(key Key) (*sealer, error) {
	derive := func(info string, size int) ([]byte, error) {
		return hkdf.Key(sha256.New, []byte(key.Reveal()), nil, info, size)
	}
	sealKey, err1 := derive(sealInfo, chacha20poly1305.KeySize)
	idKey, err2 := derive(idInfo, sha256.Size)
	keyID, err3 := derive(keyIDInfo, idSize)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("deriving key: %w", err)
	}
	aead, err := chacha20poly1305.NewX(sealKey)
	if err != nil {
		return nil, fmt.Errorf("making cipher: %w", err)
	}
	return &sealer{aead: aead, idKey: idKey, keyID: hex.EncodeToString(keyID)}, nil
}

// id names a connection.
func (s *sealer) id(key connection.Key) string { return s.hash(key.App, key.User) }

// mark hashes a text for an app's ledger. It has one part more than a key, so
// that no text has the mark that is a connection's id.
func (s *sealer) mark(app, text string) string { return s.hash("ledger", app, text) }

// hash is HMAC-SHA256 over parts, each after its length in 8 bytes, cut to 16
// bytes: no two lists of parts meet by where one part ends.
func (s *sealer) hash(parts ...string) string {
	mac := hmac.New(sha256.New, s.idKey)
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil)[:idSize])
}

func (s *sealer) seal(name string, fields map[string]string, version uint64) ([]byte, error) {
	for field, value := range fields {
		// JSON would replace broken UTF-8 without a word.
		if !utf8.ValidString(value) || !utf8.ValidString(field) {
			return nil, fmt.Errorf("field %q is not valid UTF-8", field)
		}
	}
	plain, err := json.Marshal(document{Version: version, Fields: fields})
	if err != nil {
		return nil, fmt.Errorf("encoding record: %w", err)
	}
	box := make([]byte, len(magic)+s.aead.NonceSize(), len(magic)+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	nonce := box[copy(box, magic):]
	rand.Read(nonce) // never fails
	return s.aead.Seal(box, nonce, plain, authenticated(name)), nil
}

// open returns what is sealed under name. Its errors wrap
// [connection.ErrCorrupt].
func (s *sealer) open(name string, box []byte) (document, error) {
	header := len(magic) + s.aead.NonceSize()
	if len(box) < header || string(box[:len(magic)]) != magic {
		return document{}, fmt.Errorf("%w: it is not a sealed record of this version", connection.ErrCorrupt)
	}
	plain, err := s.aead.Open(nil, box[len(magic):header], box[header:], authenticated(name))
	if err != nil {
		return document{}, fmt.Errorf(
			"%w: it was sealed with another key (set encryption_key to that one), or altered, or moved here", connection.ErrCorrupt)
	}
	var doc document
	if err := json.Unmarshal(plain, &doc); err != nil || doc.Version == 0 {
		return document{}, fmt.Errorf("%w: its content is not a record", connection.ErrCorrupt)
	}
	return doc, nil
}

func authenticated(name string) []byte { return []byte(magic + name) }
