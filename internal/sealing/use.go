package sealing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// A sealed text, before base64url, is
//
//	magic (3) | app tag (9) | nonce | ciphertext | tag (16)
//
// where magic, app tag and the app's name are authenticated. The app tag is
// outside the ciphertext so that the app of a text is found, and another
// app's told from garbage, without that app's key.
const (
	magicSize = 3
	tagSize   = 9
	// headerSize is a multiple of 3, so that the header ends where a
	// character of base64 does.
	headerSize  = magicSize + tagSize
	headerChars = headerSize / 3 * 4
)

var encoding = base64.RawURLEncoding.Strict()

// Use is what texts are sealed for. All fields are required and part of the
// format: a change of one makes the texts of before unreadable.
type Use struct {
	// Label names the use and the version of its content. Keys and app tags
	// are derived from it (the info of RFC 5869, 3.2).
	Label string
	// Magic is 3 bytes with which the texts begin; the last is the version of
	// the format.
	Magic string
	// Cipher makes the cipher of a key of 32 bytes. Its nonces are random:
	// see [GCM] for how many texts that is good for.
	Cipher func(key []byte) (cipher.AEAD, error)
	// MaxLength caps a sealed text, in characters.
	MaxLength int
}

// GCM is AES-256-GCM, for uses with fewer than 2^32 texts in the life of a
// client secret (NIST SP 800-38D, 8.3). For more there is
// [golang.org/x/crypto/chacha20poly1305.NewX], whose nonces are long enough
// to be random for any number.
func GCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	// It makes its nonces itself, and is to callers a cipher without one.
	return cipher.NewGCMWithRandomNonce(block)
}

// Tag marks the app of a sealed text. It shows which texts are of the same
// app and use, and nothing else to those who do not know the app's name.
type Tag [tagSize]byte

// Tag returns the mark of an app. Names compare without regard to case.
func (u Use) Tag(app string) Tag {
	sum := sha256.Sum256([]byte(u.Label + " app tag\x00" + strings.ToLower(app)))
	return Tag(sum[:tagSize])
}

// TagOf returns the mark that a text bears. ok is false for what cannot be a
// text of this use. Whether the mark is genuine shows when the text is
// opened.
func (u Use) TagOf(sealed string) (tag Tag, ok bool) {
	if len(sealed) < headerChars {
		return Tag{}, false
	}
	var header [headerSize]byte
	n, err := encoding.Decode(header[:], []byte(sealed[:headerChars]))
	if err != nil || n != headerSize || string(header[:magicSize]) != u.Magic {
		return Tag{}, false
	}
	return Tag(header[magicSize:]), true
}
