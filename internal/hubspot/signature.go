package hubspot

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// The headers in which HubSpot signs what it sends.
const (
	// HeaderSignature has a signature of version 1 or 2, in hex.
	HeaderSignature = "X-HubSpot-Signature"
	// HeaderSignatureVersion says which: v1 or v2.
	HeaderSignatureVersion = "X-HubSpot-Signature-Version"
	// HeaderSignatureV3 has the signature of version 3, in base64.
	HeaderSignatureV3 = "X-HubSpot-Signature-v3"
	// HeaderTimestamp is when the request was signed, in Unix milliseconds.
	HeaderTimestamp = "X-HubSpot-Request-Timestamp"
)

// SignatureVersion is a way in which HubSpot signs.
type SignatureVersion string

const (
	SignatureV1 SignatureVersion = "v1"
	SignatureV2 SignatureVersion = "v2"
	SignatureV3 SignatureVersion = "v3"
)

// Signed is what a signature is made over. See HubSpot's "Validating requests"
// (docs/apps/developer-platform/build-apps/authentication/request-validation).
type Signed struct {
	Method string
	// URL is what HubSpot called: scheme, host, path and query.
	URL  string
	Body []byte
	// Timestamp is the header, of version 3.
	Timestamp string
}

// Sign returns the signature of a version, as HubSpot sends it; empty for a
// version that there is not. Version 1 is over the body alone.
func (s Signed) Sign(version SignatureVersion, key secret.Text) string {
	return s.sign(version, key, s.URL)
}

func (s Signed) sign(version SignatureVersion, key secret.Text, url string) string {
	switch version {
	case SignatureV3:
		mac := hmac.New(sha256.New, []byte(key.Reveal()))
		for _, part := range []string{s.Method, url, string(s.Body), s.Timestamp} {
			mac.Write([]byte(part))
		}
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	case SignatureV2:
		sum := sha256.Sum256(slices.Concat([]byte(key.Reveal()+s.Method+url), s.Body))
		return hex.EncodeToString(sum[:])
	case SignatureV1:
		sum := sha256.Sum256(slices.Concat([]byte(key.Reveal()), s.Body))
		return hex.EncodeToString(sum[:])
	}
	return ""
}

// SignedWith returns the first of keys with which the signature is right. It
// takes the same time for every wrong signature. An empty key signs nothing.
//
// The URL is tried as it is, and with those escapes decoded that HubSpot says it
// decodes: its own libraries do not.
func (s Signed) SignedWith(version SignatureVersion, signature string, keys ...secret.Text) (key secret.Text, ok bool) {
	urls := []string{s.URL}
	if decoded := DecodeSignedURL(s.URL); decoded != s.URL && version != SignatureV1 {
		urls = append(urls, decoded)
	}
	for _, k := range keys {
		if k.IsZero() {
			continue
		}
		for _, url := range urls {
			want := s.sign(version, k, url)
			if want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1 && !ok {
				key, ok = k, true
			}
		}
	}
	return key, ok
}

// decodedEscapes are those that HubSpot decodes before it signs. Hex digits in
// lower case are taken for the same.
var decodedEscapes = strings.NewReplacer(
	"%3A", ":", "%3a", ":", "%2F", "/", "%2f", "/", "%3F", "?", "%3f", "?", "%40", "@", "%21", "!", "%24", "$",
	"%27", "'", "%28", "(", "%29", ")", "%2A", "*", "%2a", "*", "%2C", ",", "%2c", ",", "%3B", ";", "%3b", ";",
)

// DecodeSignedURL decodes in a URL what HubSpot decodes before it signs.
func DecodeSignedURL(url string) string { return decodedEscapes.Replace(url) }

// SignHeader sets the headers of a signature of version 3.
func SignHeader(h http.Header, s Signed, key secret.Text) {
	h.Set(HeaderTimestamp, s.Timestamp)
	h.Set(HeaderSignatureV3, s.Sign(SignatureV3, key))
}
