package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
)

// guard keeps the access tokens of a call out of its answer. HubSpot has no
// reason to send one back. Should it do so all the same, in an error that quotes
// the request or by an endpoint that nobody knew, the caller must not get it:
// the token outlives the caller's key.
type guard struct {
	call *Call
	mask mask
	// suspicious is set for a path that smells of credentials.
	suspicious bool
	// correlationID is HubSpot's for the answer, if it may stand in a log.
	correlationID string
	// reported is set once there is a line in the log.
	reported bool
	body     guardedBody
}

// watch has the body and the trailers of an answer looked through while they
// are passed on.
func (g *guard) watch(res *http.Response) {
	if ids := res.Header[headerCorrelationID]; len(ids) > 0 && !g.mask.inText(ids[0]) {
		g.correlationID = audit.CorrelationID(ids[0])
	}
	if res.Body == nil || res.Body == http.NoBody {
		return
	}
	codings := contentCodings(res.Header)
	if len(codings) > 0 && (g.suspicious || res.StatusCode >= http.StatusBadRequest) {
		g.openCoded(res, codings)
	}
	g.keepOut(res.Trailer)
	g.body = guardedBody{ReadCloser: res.Body, guard: g, answer: res}
	// A body that says it is coded need not be: it is looked through as it
	// comes, too.
	if g.mask.n > 0 {
		g.body.masking = g.masking(res.Body)
	}
	res.Body = &g.body
}

// holdsToken reports whether a token is in the values of a field.
func (g *guard) holdsToken(values []string) bool {
	for _, value := range values {
		if g.mask.inText(value) {
			g.found(metrics.InHeader, 1)
			return true
		}
	}
	return false
}

// keepOut takes out of a header or trailer what the client does not get.
func (g *guard) keepOut(header http.Header) {
	for name, values := range header {
		if staysThere(name) || g.holdsToken(values) {
			delete(header, name)
		}
	}
}

// masked covers the tokens in what is read.
func (g *guard) masked(r io.Reader) io.Reader {
	masking := g.masking(r)
	return &masking
}

func (g *guard) masking(r io.Reader) maskingReader {
	return maskingReader{inner: r, mask: &g.mask, found: g.foundInBody}
}

func (g *guard) foundInBody(n int) { g.found(metrics.InBody, n) }

// found counts tokens that were removed, and writes one line for the call.
func (g *guard) found(where string, n int) {
	c := g.call
	c.relay.Metrics.TokensRemoved(c.relay.App.Name, where, n)
	if g.reported {
		return
	}
	g.reported = true
	ctx := context.WithoutCancel(c.inbound.Context())
	c.relay.Logger.LogAttrs(ctx, slog.LevelError, "HubSpot sent the access token back; it was removed from the answer",
		slog.String("app", c.relay.App.Name),
		slog.String("caller", c.callerName()),
		slog.String("user_tag", c.relay.App.LogTag(ctx, c.user)),
		slog.Int64("hub_id", c.token.HubID),
		slog.String("where", where),
		slog.String("correlation_id", g.correlationID),
	)
}

// guardedBody is a body of an answer that is looked through, and whose trailers
// are.
type guardedBody struct {
	io.ReadCloser
	masking maskingReader
	guard   *guard
	answer  *http.Response
}

// Read implements [io.Reader].
func (b *guardedBody) Read(p []byte) (n int, err error) {
	if b.masking.inner != nil {
		n, err = b.masking.Read(p)
	} else {
		n, err = b.ReadCloser.Read(p)
	}
	if errors.Is(err, io.EOF) {
		b.guard.keepOut(b.answer.Trailer)
	}
	return n, err
}

// credentialWords are what paths have in them that deal in credentials, by
// their first letter.
var credentialWords = [...][]string{
	'a': {"auth"}, 'c': {"cookie", "credential"}, 'i': {"introspect"}, 'j': {"jwt"}, 'k': {"key"},
	'p': {"passw"}, 's': {"secret", "session", "signin"}, 't': {"token"},
}

// smellsOfCredentials reports whether a path, in any case, has one of
// credentialWords in it.
func smellsOfCredentials(path string) bool {
	for i := range len(path) {
		letter := path[i] | 0x20
		if int(letter) >= len(credentialWords) {
			continue
		}
		for _, word := range credentialWords[letter] {
			if len(path)-i >= len(word) && path[i+1]|0x20 == word[1] && strings.EqualFold(path[i:i+len(word)], word) {
				return true
			}
		}
	}
	return false
}

// narrowCodings takes those codings out of Accept-Encoding that cannot be
// looked into here. The answer to a suspicious path is to be readable.
func narrowCodings(header http.Header) {
	values, ok := header["Accept-Encoding"]
	if !ok {
		return
	}
	var kept []string
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(item, ";")
			if name = strings.ToLower(strings.TrimSpace(name)); name == "identity" || isKnownCoding(name) {
				kept = append(kept, strings.TrimSpace(item))
			}
		}
	}
	if len(kept) == 0 {
		kept = []string{"identity"}
	}
	header["Accept-Encoding"] = []string{strings.Join(kept, ", ")}
}
