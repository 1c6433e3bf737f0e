// Package relay takes one call to HubSpot's API and its answer back: who calls
// for whom, whether that is permitted, which access token goes along, when
// there is room within HubSpot's limits, how often it is tried, and what of the
// answer reaches the caller. It is built on [httputil.ReverseProxy], with a
// round tripper of its own, and knows net/http only.
//
// The way of a call, in the order of the files:
//
//	relay.go       what a relay is made of
//	call.go        the call: Serve, and what is known of it
//	admit.go       who calls, and may they                target.go, asapp.go, envelope*.go
//	tokeninfo.go   what of it is answered here            developerkey.go
//	roundtrip.go   a token, a place in the quota, the tries   tries.go, body.go, hublet.go
//	headers.go     what goes up and what comes down       guard.go, mask.go
//	answer.go      the writer of the answer
//	refuse.go      errors of our own
//	endings.go     endpoints that HubSpot ends
//	record.go      metrics, log lines and the audit log
package relay

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
	"github.com/caddy-hubspot/caddy-hubspot/internal/admission"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
	"github.com/caddy-hubspot/caddy-hubspot/internal/metrics"
	"github.com/caddy-hubspot/caddy-hubspot/internal/userid"
)

// DefaultMaxWait is how long a call waits here if nothing else is said.
const DefaultMaxWait = 10 * time.Second

// Config is what a [Relay] is made of.
type Config struct {
	// App, Desk, Metrics and Logger are required.
	App     *hubapp.App
	Desk    *admission.Desk
	Metrics *metrics.Metrics
	Logger  *slog.Logger
	// User is where a request names its user, beside the path prefix /as/ and
	// an envelope. A header is for the sidecar only.
	User userid.Source
	// Open lets in requests without a key, as [admission.CheckOpen] says.
	// OwnName is its second argument; nil knows no names.
	Open    bool
	OwnName func(*http.Request) bool
	// MaxWait is the longest that a call waits here; 0 is [DefaultMaxWait].
	MaxWait time.Duration
	// Transport takes requests to HubSpot. It must neither follow redirects
	// nor add an Accept-Encoding. Required.
	Transport http.RoundTripper
	// OneHost keeps calls from going to the API of the data centre that
	// HubSpot says an account is in (api-eu1.hubapi.com).
	OneHost bool
	// DeprecationHeaders has answers say when HubSpot ends their endpoint.
	DeprecationHeaders bool
	// Audit is nil for none.
	Audit *audit.Log
	// Budget bounds what all envelopes and kept bodies take; nil is one of
	// its own.
	Budget *Budget
	// Foreign reports whether an error, of the body of a request for example,
	// is one that a handler in front answers itself; nil knows none.
	Foreign func(error) bool
}

// Relay takes calls to HubSpot for one app. It is safe for concurrent use.
type Relay struct {
	Config

	api   origin
	proxy httputil.ReverseProxy
	// anyone is the caller of a request that Open lets in.
	anyone *access.Caller
	logs   admission.LogLimit
	// hublets are where accounts are that are not where their token says.
	hublets hublets
	// vary names what chooses user and caller, and setting what the setting
	// user is, in errors.
	vary    []string
	setting string
}

// New makes a Relay.
func New(c Config) (*Relay, error) {
	r := &Relay{Config: c, anyone: access.Open(), vary: []string{varyOn(c.User)}, setting: settingText(c.User)}
	if r.MaxWait == 0 {
		r.MaxWait = DefaultMaxWait
	}
	if r.Budget == nil {
		r.Budget = NewBudget(DefaultBudget)
	}
	var err error
	if r.api, err = originOf(c.App.Endpoints.WithDefaults().API); err != nil {
		return nil, err
	}
	r.proxy = httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      roundTripper{},
		ModifyResponse: receive,
		ErrorHandler:   fail,
		BufferPool:     buffers{},
		ErrorLog:       slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn),
	}
	return r, nil
}

// origin is a scheme and a host.
type origin struct {
	// base is scheme://host[:port] in lower case.
	base         string
	scheme, host string
}

func originOf(raw string) (origin, error) {
	u, err := url.Parse(strings.ToLower(raw))
	if err != nil {
		return origin{}, err
	}
	return origin{base: u.Scheme + "://" + u.Host, scheme: u.Scheme, host: u.Host}, nil
}

// buffers are what bodies of answers are copied with.
type buffers struct{}

// bufferSize is that of io.Copy.
const bufferSize = 32 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Get implements [httputil.BufferPool].
func (buffers) Get() []byte { return bufferPool.Get().(*[bufferSize]byte)[:] }

// Put implements [httputil.BufferPool].
func (buffers) Put(b []byte) { bufferPool.Put((*[bufferSize]byte)(b)) }
