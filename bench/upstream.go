package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// upstream stands in for HubSpot: it answers API calls at once with a fixed
// answer, and leaves /oauth/ to the sandbox.
type upstream struct {
	oauth  http.Handler
	list   []byte
	object []byte
	// chunked has answers sent without their length, as they come from
	// HubSpot when it compresses them.
	chunked bool

	http1, http2, refused, connections atomic.Int64
}

// upstreamCounts is what the upstream has been asked since its start.
type upstreamCounts struct {
	// HTTP1 and HTTP2 are the API calls answered, by protocol.
	HTTP1 int64 `json:"http1"`
	HTTP2 int64 `json:"http2"`
	// Refused are API calls without an access token.
	Refused int64 `json:"refused"`
	// Connections are those accepted.
	Connections int64 `json:"connections"`
}

// minus is what has come since before.
func (c upstreamCounts) minus(before upstreamCounts) upstreamCounts {
	return upstreamCounts{
		HTTP1:       c.HTTP1 - before.HTTP1,
		HTTP2:       c.HTTP2 - before.HTTP2,
		Refused:     c.Refused - before.Refused,
		Connections: c.Connections - before.Connections,
	}
}

// serveUpstream is the program that runs as the upstream, with the flags that
// follow its name on the command line. It serves until it is killed.
func serveUpstream(args []string) error {
	flags := flag.NewFlagSet("upstream", flag.ContinueOnError)
	listen := flags.String("listen", "", "where API calls come, with TLS")
	control := flags.String("control", "", "where counts are asked for and traces sent, without")
	cert := flags.String("cert", "", "certificate")
	key := flags.String("key", "", "its key")
	http2 := flags.Bool("http2", false, "offer HTTP/2 beside HTTP/1.1")
	chunked := flags.Bool("chunked", false, "answers without a length")
	if err := flags.Parse(args); err != nil {
		return err
	}
	oauth, err := sandbox.New(sandbox.Options{})
	if err != nil {
		return fmt.Errorf("making the sandbox: %w", err)
	}
	u := &upstream{oauth: oauth, list: listBody(), object: objectBody(), chunked: *chunked}
	server := &http.Server{
		Addr: *listen, Handler: u, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // connections that clients cut off at the end of a run
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				u.connections.Add(1)
			}
		},
		Protocols: new(http.Protocols),
		// Cloudflare, which is in front of HubSpot, allows 100.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100},
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(*http2)
	failed := make(chan error, 2)
	go func() { failed <- server.ListenAndServeTLS(*cert, *key) }()
	go func() { failed <- u.serveControl(*control) }()
	return <-failed
}

// ServeHTTP answers as HubSpot would.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/oauth/") {
		u.oauth.ServeHTTP(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // a client that hangs up is its own affair
	setHeaders(w.Header())
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" || token == callerKey {
		u.refused.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.ProtoMajor == 2 {
		u.http2.Add(1)
	} else {
		u.http1.Add(1)
	}
	status, body := http.StatusOK, u.list
	if r.Method == http.MethodPost {
		status, body = http.StatusCreated, u.object
	}
	if !u.chunked {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if u.chunked {
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = w.Write(body)
}

// setHeaders sets what HubSpot and Cloudflare put on an answer. The limit is
// so large that nobody waits.
func setHeaders(h http.Header) {
	for _, field := range [][2]string{
		{"Content-Type", "application/json;charset=utf-8"},
		{"Cf-Ray", "9a1b2c3d4e5f6071-FRA"},
		{"Cf-Cache-Status", "DYNAMIC"},
		{"Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"},
		{"Vary", "origin, Accept-Encoding"},
		{"Access-Control-Allow-Credentials", "false"},
		{"Server", "cloudflare"},
		{"Server-Timing", "hcid;desc=\"a43683b0-5717-4ceb-80b4-104d02915d8c\""},
		{"X-Content-Type-Options", "nosniff"},
		{"X-Hubspot-Correlation-Id", "a43683b0-5717-4ceb-80b4-104d02915d8c"},
		{"X-Hubspot-Ratelimit-Interval-Milliseconds", "1000"},
		{"X-Hubspot-Ratelimit-Max", "1000000"},
		{"X-Hubspot-Ratelimit-Remaining", "999999"},
		{"X-Request-Id", "a43683b0-5717-4ceb-80b4-104d02915d8c"},
	} {
		h.Set(field[0], field[1])
	}
}

// serveControl tells the counts, and takes in the traces of those that send
// some.
func (u *upstream) serveControl(address string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(upstreamCounts{
			HTTP1: u.http1.Load(), HTTP2: u.http2.Load(), Refused: u.refused.Load(), Connections: u.connections.Load(),
		})
	})
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}

// contact is an object of the CRM as HubSpot shows it.
type contact struct {
	ID         string            `json:"id"`
	Properties map[string]string `json:"properties"`
	CreatedAt  string            `json:"createdAt"`
	UpdatedAt  string            `json:"updatedAt"`
	Archived   bool              `json:"archived"`
}

func newContact(number int) contact {
	return contact{
		ID: strconv.Itoa(51000 + number),
		Properties: map[string]string{
			"createdate":       "2026-03-04T10:15:30.123Z",
			"email":            fmt.Sprintf("ada.lovelace%d@customer.example.com", number),
			"firstname":        "Ada",
			"hs_object_id":     strconv.Itoa(51000 + number),
			"lastmodifieddate": "2026-11-20T08:00:12.345Z",
			"lastname":         "Lovelace",
		},
		CreatedAt: "2026-03-04T10:15:30.123Z",
		UpdatedAt: "2026-11-20T08:00:12.345Z",
	}
}

// listBody is a page of contacts of some 1.5 KB.
func listBody() []byte {
	page := map[string]any{"paging": map[string]any{"next": map[string]string{
		"after": "51004", "link": "https://api.hubapi.com/crm/objects/2026-09/contacts?limit=4&after=51004",
	}}}
	var results []contact
	for number := range 4 {
		results = append(results, newContact(number))
	}
	page["results"] = results
	return mustMarshal(page)
}

// objectBody is one contact.
func objectBody() []byte { return mustMarshal(newContact(1)) }

// postBody is what clients send: some 1 KB.
func postBody() []byte {
	return mustMarshal(map[string]any{"properties": map[string]string{
		"email": "ada@customer.example.com", "firstname": "Ada", "lastname": "Lovelace",
		"notes": strings.Repeat("A note of a customer. ", 40),
	}})
}

// mustMarshal is for values that have no way not to be JSON.
func mustMarshal(value any) []byte {
	content, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return content
}

var errNoUpstream = errors.New("the upstream does not tell its counts")

// readCounts asks the upstream's control port.
func readCounts(client *http.Client, port int) (upstreamCounts, error) {
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/counts", port)) //nolint:noctx // it has a timeout
	if err != nil {
		return upstreamCounts{}, fmt.Errorf("%w: %w", errNoUpstream, err)
	}
	defer res.Body.Close()
	var counts upstreamCounts
	if err := json.NewDecoder(res.Body).Decode(&counts); err != nil {
		return upstreamCounts{}, fmt.Errorf("%w: %w", errNoUpstream, err)
	}
	return counts, nil
}

// isUpstream reports whether this process was started to be the upstream.
func isUpstream() bool { return len(os.Args) > 1 && os.Args[1] == "upstream" }
