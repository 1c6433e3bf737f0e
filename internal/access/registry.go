package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors of [Registry.Authenticate]. All of them make a 401.
var (
	// ErrNoCredentials means that the request has no Authorization header.
	ErrNoCredentials = errors.New("no caller key was given")
	// ErrUnknownKey means that the key belongs to no caller, or not to the
	// caller that Basic authentication names.
	ErrUnknownKey = errors.New("the caller key is not known")
	// ErrMalformedCredentials means that the Authorization header is
	// neither Bearer nor Basic, or that there are several.
	ErrMalformedCredentials = errors.New("the Authorization header must be one of Bearer <key> or Basic base64(caller:key)")
)

// maxBasic is the longest that the decoded credentials of Basic can be.
const maxBasic = 64 + 1 + MaxKeyLength

// Registry knows all callers and what they are known by. The zero value knows
// none. It is immutable and safe for concurrent use.
type Registry struct {
	callers []*Caller
	byKey   map[digest]holder
	// byName has the callers by their names in lower case.
	byName map[string]*Caller
	// The callers that can be known by each of the other ways.
	byCertificate, byToken, byPeer []*Caller
}

// holder is a caller with one of its keys.
type holder struct {
	key    digest
	caller *Caller
}

// NewRegistry makes a registry of callers. Two callers must have neither the
// same name, compared case-insensitively, nor a key in common, nor anything
// else that is certain to make a request match both.
func NewRegistry(callers []*Caller) (*Registry, error) {
	r := &Registry{callers: callers, byKey: make(map[digest]holder), byName: make(map[string]*Caller, len(callers))}
	for _, caller := range callers {
		folded := strings.ToLower(caller.name)
		if other, ok := r.byName[folded]; ok {
			return nil, fmt.Errorf("caller %q: there is a caller %q already; names compare case-insensitively", caller.name, other.name)
		}
		r.byName[folded] = caller
		for _, key := range caller.keys {
			if other, ok := r.byKey[key]; ok {
				return nil, fmt.Errorf("caller %q: key: caller %q has the same; every caller needs its own", caller.name, other.caller.name)
			}
			r.byKey[key] = holder{key: key, caller: caller}
		}
		if err := r.addIdentities(caller); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Registry) addIdentities(caller *Caller) error {
	for _, other := range r.callers {
		if other == caller {
			break
		}
		if err := caller.known.overlap(&other.known); err != nil {
			return fmt.Errorf("caller %q: %w: caller %q has the same; a request would be both callers'", caller.name, err, other.name)
		}
	}
	if len(caller.known.certificates) > 0 {
		r.byCertificate = append(r.byCertificate, caller)
	}
	if caller.known.token != nil {
		r.byToken = append(r.byToken, caller)
	}
	if !caller.known.peer.isZero() {
		r.byPeer = append(r.byPeer, caller)
	}
	return nil
}

// Len returns the number of callers.
func (r *Registry) Len() int { return len(r.callers) }

// ByName returns the caller of that name, in any case.
func (r *Registry) ByName(name string) (*Caller, bool) {
	caller, ok := r.byName[strings.ToLower(name)]
	return caller, ok
}

// HasCertificates reports whether any caller is known by client certificates.
func (r *Registry) HasCertificates() bool { return len(r.byCertificate) > 0 }

// HasTokens reports whether any caller is known by JWTs.
func (r *Registry) HasTokens() bool { return len(r.byToken) > 0 }

// HasPeers reports whether any caller is known by its user or group.
func (r *Registry) HasPeers() bool { return len(r.byPeer) > 0 }

// ByCertificate finds the caller of a client certificate, which must have been
// verified. The errors are [ErrNoCaller] and [ErrSeveralCallers].
func (r *Registry) ByCertificate(cert *x509.Certificate) (*Caller, error) {
	return only(r.byCertificate, func(c *Caller) bool { return matchAny(c.known.certificates, cert) })
}

// ByToken finds the caller of a JWT by the claims iss, sub and aud of a token
// that must have been verified. The errors are [ErrNoCaller] and
// [ErrSeveralCallers].
func (r *Registry) ByToken(issuer, subject string, audience []string) (*Caller, error) {
	return only(r.byToken, func(c *Caller) bool { return c.known.token.match(issuer, subject, audience) })
}

// ByPeer finds the caller of the process at the other end of a unix socket, by
// its user and group. The errors are [ErrNoCaller] and [ErrSeveralCallers].
func (r *Registry) ByPeer(uid, gid uint32) (*Caller, error) {
	return only(r.byPeer, func(c *Caller) bool { return c.known.peer.match(uid, gid) })
}

// only returns the one caller that matches.
func only(callers []*Caller, match func(*Caller) bool) (*Caller, error) {
	var found *Caller
	for _, c := range callers {
		if !match(c) {
			continue
		}
		if found != nil {
			return nil, ErrSeveralCallers
		}
		found = c
	}
	if found == nil {
		return nil, ErrNoCaller
	}
	return found, nil
}

// Authenticate finds the caller of a request by the key in its Authorization
// header: `Bearer <key>`, or `Basic base64(caller:key)` with the name of the
// caller that the key belongs to (RFC 6750, RFC 7617). The errors are
// [ErrNoCredentials], [ErrMalformedCredentials] and [ErrUnknownKey].
func (r *Registry) Authenticate(header http.Header) (*Caller, error) {
	values := header["Authorization"]
	if len(values) == 0 {
		return nil, ErrNoCredentials
	}
	if len(values) > 1 {
		return nil, ErrMalformedCredentials
	}
	scheme, credentials, _ := strings.Cut(values[0], " ")
	credentials = strings.Trim(credentials, " ")
	switch {
	case credentials == "" || strings.ContainsAny(credentials, " \t"):
		return nil, ErrMalformedCredentials
	case strings.EqualFold(scheme, "Bearer"):
		return r.bearer(credentials)
	case strings.EqualFold(scheme, "Basic"):
		return r.basic(credentials)
	}
	return nil, ErrMalformedCredentials
}

func (r *Registry) bearer(key string) (*Caller, error) {
	var buffer [MaxKeyLength]byte
	if len(key) > len(buffer) {
		return nil, ErrUnknownKey
	}
	return r.find(sha256.Sum256(buffer[:copy(buffer[:], key)]))
}

func (r *Registry) basic(credentials string) (*Caller, error) {
	if len(credentials) > base64.StdEncoding.EncodedLen(maxBasic) {
		return nil, ErrUnknownKey
	}
	var buffer [maxBasic + 2]byte
	n, err := base64.StdEncoding.Decode(buffer[:], []byte(credentials))
	if err != nil {
		return nil, ErrMalformedCredentials
	}
	name, key, ok := strings.Cut(string(buffer[:n]), ":")
	if !ok {
		return nil, ErrMalformedCredentials
	}
	caller, err := r.bearer(key)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(name, caller.name) {
		return nil, ErrUnknownKey
	}
	return caller, nil
}

// find compares once more in constant time: what a map lookup gives away is
// about digests, which tell nothing of a key, and this does not even that.
func (r *Registry) find(sum digest) (*Caller, error) {
	found := r.byKey[sum]
	if subtle.ConstantTimeCompare(found.key[:], sum[:]) != 1 || found.caller == nil {
		return nil, ErrUnknownKey
	}
	return found.caller, nil
}
