package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/apierror"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

const (
	// MaxBody is the largest body that is taken, in bytes. HubSpot sends a
	// hundred events at most.
	MaxBody = 1 << 20
	// Window is how far the time of a signature may be from now, either way.
	// The five minutes are HubSpot's.
	Window = 5 * time.Minute
	// bodyPatience is how long a body may take to arrive: HubSpot itself gives
	// up after five seconds.
	bodyPatience = 10 * time.Second
)

// Reason is why a request was refused, as context.reason of the answer has it.
type Reason string

const (
	ReasonSignature Reason = "signature"
	ReasonTimestamp Reason = "timestamp"
	ReasonReplay    Reason = "replay"
	ReasonSize      Reason = "size"
)

// Reasons are all of them.
var Reasons = []Reason{ReasonSignature, ReasonTimestamp, ReasonReplay, ReasonSize}

// Verifier checks that requests are HubSpot's. Its fields are set before the first
// use. It is safe for concurrent use.
type Verifier struct {
	// App is the name of the app, for answers. Required.
	App string
	// Credentials have the secrets that HubSpot may have signed with. Required.
	Credentials func(ctx context.Context) (hubspot.Credentials, error)
	// Versions are those that are taken. Required.
	Versions []hubspot.SignatureVersion
	// URL returns what HubSpot has called, with the query. Required.
	URL func(r *http.Request) string
	// Replays remember what has come. Required.
	Replays *Replays
	// Large bound what is held of large bodies before they are verified. Nil is
	// for no bound.
	Large *LargeBodies
	// Foreign reports whether an error of reading a body says itself with what
	// status it is answered. Nil is for none.
	Foreign func(error) bool
	// UsedSecret is told with which of the secrets a request was signed. Nil is
	// for nobody.
	UsedSecret func(secret.Text)
}

// Verified is a request that HubSpot has signed.
type Verified struct {
	// Version is that of the signature which was checked.
	Version hubspot.SignatureVersion
	// Body is all of the body.
	Body []byte

	replays *Replays
	mark    mark
}

// Answered is told the status that the request was answered with. After one of 5xx
// HubSpot may send the same request again.
func (v *Verified) Answered(status int) {
	if status >= 500 {
		v.replays.forget(v.mark)
	}
}

// Verify reads the body of r and checks its signature. An error is an
// [*apierror.Error], or one that Foreign takes.
func (v *Verifier) Verify(w http.ResponseWriter, r *http.Request) (*Verified, error) {
	now := time.Now()
	version, signature, err := v.pick(r)
	if err != nil {
		return nil, err
	}
	timestamp, signedAt, err := v.timestamp(r, version, now)
	if err != nil {
		return nil, err
	}
	held := &boundedBody{Reader: io.LimitReader(r.Body, MaxBody+1), room: v.Large}
	defer held.release()
	body, err := v.read(w, r, held)
	if err != nil {
		return nil, err
	}
	credentials, err := v.Credentials(r.Context())
	if err != nil {
		const text = "The app's client secret, with which webhooks are checked, cannot be read at present. Send it again later."
		return nil, apierror.Wrap(apierror.StoreUnavailable, text, err)
	}
	signed := hubspot.Signed{Method: r.Method, URL: v.URL(r), Body: body, Timestamp: timestamp}
	key, ok := signed.SignedWith(version, signature, credentials.Secret, credentials.NextSecret)
	if !ok {
		return nil, v.refuse(ReasonSignature,
			"The signature is not the one that HubSpot makes with this app's client secret for %s %q and this body. "+
				"If HubSpot has sent it, public_url is not what HubSpot calls, or client_secret is another app's.",
			r.Method, signed.URL)
	}
	if v.UsedSecret != nil {
		v.UsedSecret(key)
	}
	verified := &Verified{Version: version, Body: body, replays: v.Replays}
	if r.Method == http.MethodGet && version != hubspot.SignatureV3 {
		// Without a timestamp the same question has the same signature.
		return verified, nil
	}
	verified.mark = markOf(v.App, version, signature)
	switch err := v.Replays.note(verified.mark, now, signedAt.Add(Window)); {
	case errors.Is(err, errReplay):
		return nil, v.refuse(ReasonReplay, "This very request has come before.")
	case err != nil:
		return nil, apierror.Wrap(apierror.TooBusy, "More webhooks have come in ten minutes than can be told apart. Send it again later.", err)
	}
	return verified, nil
}

func (v *Verifier) refuse(reason Reason, format string, args ...any) error {
	e := apierror.New(apierror.WebhookRefused, fmt.Sprintf(format, args...))
	e.Context = map[string][]string{"app": {v.App}, "reason": {string(reason)}}
	return e
}

// ReasonOf returns why err refuses a request; empty if it does not for a Reason.
func ReasonOf(err error) Reason {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok || e.SubCategory != apierror.WebhookRefused || len(e.Context["reason"]) != 1 {
		return ""
	}
	return Reason(e.Context["reason"][0])
}

// pick finds the signature that is to be checked. Of version 3 there is none to
// fall back from: who has it taken away has to know that others are taken.
func (v *Verifier) pick(r *http.Request) (hubspot.SignatureVersion, string, error) {
	three, old := r.Header.Values(hubspot.HeaderSignatureV3), r.Header.Values(hubspot.HeaderSignature)
	if len(three) > 1 || len(old) > 1 || len(r.Header.Values(hubspot.HeaderSignatureVersion)) > 1 {
		return "", "", v.refuse(ReasonSignature, "There is more than one signature.")
	}
	if len(three) == 1 && v.takes(hubspot.SignatureV3) {
		return hubspot.SignatureV3, three[0], nil
	}
	named := hubspot.SignatureVersion(r.Header.Get(hubspot.HeaderSignatureVersion))
	if len(old) == 1 && named != hubspot.SignatureV3 && v.takes(named) {
		return named, old[0], nil
	}
	return "", "", v.refuse(ReasonSignature, "There is no signature of a version that is taken here: %v.", v.Versions)
}

func (v *Verifier) takes(version hubspot.SignatureVersion) bool {
	return slices.Contains(v.Versions, version)
}

// timestamp returns the time of a signature of version 3; the others have none, and
// count as made now.
func (v *Verifier) timestamp(r *http.Request, version hubspot.SignatureVersion, now time.Time) (string, time.Time, error) {
	if version != hubspot.SignatureV3 {
		return "", now, nil
	}
	values := r.Header.Values(hubspot.HeaderTimestamp)
	if len(values) != 1 {
		return "", now, v.refuse(ReasonTimestamp, "There has to be one header "+hubspot.HeaderTimestamp+".")
	}
	ms, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil {
		return "", now, v.refuse(ReasonTimestamp, "The header "+hubspot.HeaderTimestamp+" is not a time in milliseconds.")
	}
	at := time.UnixMilli(int64(ms))
	if at.Before(now.Add(-Window)) || at.After(now.Add(Window)) {
		return "", now, v.refuse(ReasonTimestamp,
			"The request was signed more than five minutes ago or ahead of now. If HubSpot has sent it, this machine's clock is wrong.")
	}
	return values[0], at, nil
}

// read reads the body, of which there is one byte too many at the most, and which
// must not take long.
func (v *Verifier) read(w http.ResponseWriter, r *http.Request, held io.Reader) ([]byte, error) {
	if r.ContentLength > MaxBody {
		return nil, v.tooLarge()
	}
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(bodyPatience)) == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	body, err := io.ReadAll(held)
	switch {
	case errors.Is(err, errTooMuchHeld):
		return nil, apierror.Wrap(apierror.TooBusy, "More large requests come in than are verified at a time. Send it again later.", err)
	case err != nil && v.Foreign != nil && v.Foreign(err):
		return nil, err
	case err != nil:
		return nil, apierror.Wrap(apierror.BadRequest, "The body of the request broke off.", err)
	case len(body) > MaxBody:
		return nil, v.tooLarge()
	}
	return body, nil
}

func (v *Verifier) tooLarge() error {
	return v.refuse(ReasonSize, "The body has more than %d bytes.", MaxBody)
}
