package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// maxFile is the largest file in bytes. HubSpot's have 5 MB at the most.
	maxFile = 32 << 20
	// fileTimeout bounds the fetching of one.
	fileTimeout = 30 * time.Second
	// maxFileHeader bounds the header of the answer.
	maxFileHeader = 64 << 10
)

// errLink means that a link leads where no file of the journal can be. Nothing
// was fetched.
var errLink = errors.New("the link of a file in the journal is not followed")

// fetcher fetches files by their pre-signed links, which are credentials of
// their own: no token goes along, and no error shows one.
type fetcher struct {
	// api is the scheme and host of the API.
	api *url.URL
	// direct makes connections itself and looks at where they lead; behind
	// goes through the proxy of the environment, which decides that; loop is
	// for the API's own origin on a loopback address.
	direct, behind, loop *http.Client
	proxy                func(*http.Request) (*url.URL, error)
}

func newFetcher(api *url.URL) *fetcher {
	client := func(dialer *net.Dialer, proxy func(*http.Request) (*url.URL, error)) *http.Client {
		return &http.Client{
			Timeout: fileTimeout,
			Transport: &http.Transport{
				Proxy: proxy, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
				MaxResponseHeaderBytes: maxFileHeader, IdleConnTimeout: 30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &fetcher{
		api:    api,
		direct: client(&net.Dialer{Timeout: 10 * time.Second, Control: refusePrivate}, nil),
		behind: client(&net.Dialer{Timeout: 10 * time.Second}, http.ProxyFromEnvironment),
		loop:   client(&net.Dialer{Timeout: 10 * time.Second}, nil),
		proxy:  http.ProxyFromEnvironment,
	}
}

// close lets go of connections.
func (f *fetcher) close() {
	for _, c := range []*http.Client{f.direct, f.behind, f.loop} {
		c.CloseIdleConnections()
	}
}

// fetch returns the file behind a link.
func (f *fetcher) fetch(ctx context.Context, link string) ([]byte, error) {
	u, err := f.check(link)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fileTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not a URL", errLink)
	}
	req.Header.Set("User-Agent", "caddy-hubspot")
	res, err := f.clientFor(req).Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching a file of the journal: %w", withoutURL(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching a file of the journal: %w", statusError{status: res.StatusCode})
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetching a file of the journal: %w", withoutURL(err))
	case len(data) > maxFile:
		return nil, fmt.Errorf("%w: it is larger than %d MiB", errFile, maxFile>>20)
	}
	return data, nil
}

// check returns the URL of a link that may be followed: of https, the default
// port and a host name outside HubSpot's API, or of the API's own origin where
// that is on a loopback address, as a sandbox is.
func (f *fetcher) check(link string) (*url.URL, error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not a URL", errLink)
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	switch {
	case u.User != nil || u.Opaque != "" || host == "":
		return nil, fmt.Errorf("%w: it is no plain address of a host", errLink)
	case f.isLoop(u):
		return u, nil
	case u.Scheme != "https":
		return nil, fmt.Errorf("%w: its scheme is not https", errLink)
	case u.Port() != "" && u.Port() != "443":
		return nil, fmt.Errorf("%w: its port is not that of https", errLink)
	case isAPIHost(host), host == strings.ToLower(f.api.Hostname()):
		return nil, fmt.Errorf("%w: it leads to HubSpot's API, where files are not", errLink)
	case isAddress(host) || !strings.Contains(host, "."):
		return nil, fmt.Errorf("%w: its host is no public name", errLink)
	}
	return u, nil
}

// isLoop reports whether a URL is of the API's own origin, on loopback.
func (f *fetcher) isLoop(u *url.URL) bool {
	host := f.api.Hostname()
	ip, err := netip.ParseAddr(host)
	loopback := strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
	return loopback && u.Scheme == f.api.Scheme && strings.EqualFold(u.Host, f.api.Host)
}

func isAPIHost(host string) bool {
	return host == "hubapi.com" || strings.HasSuffix(host, ".hubapi.com")
}

// isAddress reports whether a host is an IP address in any spelling that
// resolvers take for one: names of hosts do not end in a number.
func isAddress(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Contains(host, ":") || last != "" && last[0] >= '0' && last[0] <= '9'
}

// clientFor is the client for a request whose URL was checked.
func (f *fetcher) clientFor(r *http.Request) *http.Client {
	if f.isLoop(r.URL) {
		return f.loop
	}
	if proxy, err := f.proxy(r); err != nil || proxy != nil {
		return f.behind
	}
	return f.direct
}

// refusePrivate keeps connections from leading to addresses that are not of the
// internet, whatever name has resolved to them.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: it leads nowhere", errLink)
	}
	ip := parsed.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || inAny(ip, reserved) {
		return fmt.Errorf("%w: its host has an address that is not of the internet", errLink)
	}
	return nil
}

// reserved are addresses that [netip.Addr.IsGlobalUnicast] takes for those of
// the internet and are not (IANA's registries of special-purpose addresses).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

func inAny(ip netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// withoutURL takes the URL out of an error of net/http's.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
