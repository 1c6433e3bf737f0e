package admission

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/jwtauth"
	"github.com/caddy-hubspot/caddy-hubspot/internal/peercred"
)

// Recognize finds the caller of a request without an Authorization header: by
// its client certificate, or else by who is at the other end of the unix
// socket. It returns nil and no error if it finds none. The error is an
// [*apierror.Error].
func (d *Desk) Recognize(r *http.Request) (*access.Caller, error) {
	if d.callers == nil {
		return nil, nil
	}
	if cert := verifiedCertificate(r); d.callers.HasCertificates() && cert != nil {
		caller, err := d.callers.ByCertificate(cert)
		// A browser presents its user's certificate to whatever page asks
		// for this site.
		if err == nil && !isSameOrigin(r) {
			return nil, apierror.New(apierror.CallerForbidden,
				"With a client certificate and no key, a browser is let in from pages of this site only.")
		}
		if !errors.Is(err, access.ErrNoCaller) {
			return caller, identityError("client certificate", err)
		}
	}
	if !d.callers.HasPeers() {
		return nil, nil
	}
	if p, ok := peercred.FromContext(r.Context()); ok {
		caller, err := d.callers.ByPeer(p.UID, p.GID)
		if !errors.Is(err, access.ErrNoCaller) {
			return caller, identityError("user and group of the program", err)
		}
	}
	return nil, nil
}

// verifiedCertificate returns the client's certificate if Caddy has verified
// it against a trust_pool; one that was only presented is anybody's to make.
func verifiedCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// unrecognized says why a request without an Authorization header is not
// known by what it came with instead; it is empty where nothing was to be
// expected.
func (d *Desk) unrecognized(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && d.callers.HasCertificates() {
		if verifiedCertificate(r) == nil {
			return " The client certificate does not count, because Caddy has not verified it: client_auth needs a trust_pool and the mode verify_if_given or require_and_verify."
		}
		return " No cert_san of a caller matches a name in the client certificate."
	}
	if d.callers.HasPeers() && isUnixPeer(r) {
		if _, ok := peercred.FromContext(r.Context()); !ok {
			return " Who is at the other end of the unix socket cannot be told."
		}
		return " The user and the group of the program at the other end of the unix socket are no caller's."
	}
	return ""
}

// identityError is the answer to a request that was recognized, or could have
// been but for the configuration. It returns nil for nil.
func identityError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, access.ErrSeveralCallers):
		return apierror.Wrap(apierror.CallerUnauthenticated,
			"Two callers match this "+what+", so it is not clear whose policy holds. An operator has to tell them apart in the sidecar's configuration.", err)
	}
	return apierror.Wrap(apierror.CallerUnauthenticated, "No caller matches this "+what+".", err)
}

// keysPause is when a client is told to come again while an issuer's keys
// cannot be had: they are fetched that often.
const keysPause = 10 * time.Second

// authenticateJWT finds the caller of a JWT. The error is an
// [*apierror.Error].
func (d *Desk) authenticateJWT(ctx context.Context, token string) (*access.Caller, error) {
	claims, err := d.jwts.Verify(ctx, token)
	switch {
	case errors.Is(err, jwtauth.ErrKeysUnavailable):
		// The message leaves the cause to the log.
		e := apierror.Wrap(apierror.CallerUnauthenticated,
			"The keys of the JWT's issuer cannot be had at present, so the JWT cannot be checked. Try again soon.", err)
		e.RetryAfter = keysPause
		return nil, e
	case err != nil:
		return nil, apierror.Wrap(apierror.CallerUnauthenticated, apierror.Sentence(err), err)
	}
	caller, err := d.callers.ByToken(claims.Issuer, claims.Subject, claims.Audience)
	return caller, identityError("JWT's subject and audience", err)
}

// bearerJWT returns the JWT of an Authorization header, if there is one.
func bearerJWT(header http.Header) (string, bool) {
	values := header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	return token, strings.EqualFold(scheme, "Bearer") && jwtauth.IsToken(token)
}
