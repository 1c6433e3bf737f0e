package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// fetchTimeout is the longest that a request for keys may take.
	fetchTimeout = 5 * time.Second
	// maxSetSize is the largest JWK set in bytes.
	maxSetSize = 1 << 20
	// maxRedirects is how often a request for keys is sent on.
	maxRedirects = 3
)

type fileSource struct {
	path string
	// read is what the file was when it was read.
	read fs.FileInfo
}

// NewFileKeySet reads the keys in a file. The file is looked at again when a
// token is to be verified, after some seconds, and read if its size or time
// has changed. While it is missing or damaged the keys of before are used, up
// to [MaxStale].
func NewFileKeySet(path string, logger *slog.Logger) (*KeySet, error) {
	s := newKeySet(&fileSource{path: path}, logger)
	s.pause, s.look = filePause, true
	list, err := s.source.fetch(s.ctx)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	s.current.Store(&keys{list: list, since: time.Now()})
	s.tried = time.Now()
	return s, nil
}

func (f *fileSource) String() string { return f.path }

func (f *fileSource) fetch(context.Context) ([]jose.JSONWebKey, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if f.read != nil && os.SameFile(f.read, info) && f.read.Size() == info.Size() && f.read.ModTime().Equal(info.ModTime()) {
		return nil, errUnchanged
	}
	list, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	f.read = info
	return list, nil
}

func readKeys(r io.Reader) ([]jose.JSONWebKey, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSetSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSetSize {
		return nil, fmt.Errorf("it is larger than %d bytes", maxSetSize)
	}
	return parseKeys(data)
}

type urlSource struct {
	url    string
	client *http.Client
}

// NewURLKeySet makes a key set of the keys at an address (see [CheckURL]).
// They are fetched when the first token is to be verified, from then on every
// hour, and when a token is signed with a key that is not among them, every
// ten seconds at the most. While they cannot be fetched the keys of before are
// used, up to [MaxStale]. The client's timeout and redirects are set here; nil
// is one with the default transport.
func NewURLKeySet(address string, client *http.Client, logger *slog.Logger) (*KeySet, error) {
	if err := CheckURL(address); err != nil {
		return nil, err
	}
	own := new(http.Client)
	if client != nil {
		*own = *client
	}
	own.Timeout, own.Jar, own.CheckRedirect = fetchTimeout, nil, checkRedirect
	s := newKeySet(&urlSource{url: address, client: own}, logger)
	s.pause, s.every = fetchPause, refreshEvery
	return s, nil
}

// CheckURL reports what is wrong with an address of keys. Whoever answers
// there decides who may call, so plain http is for loopback only.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be a URL that begins with https://")
	case u.User != nil:
		return errors.New("must not hold a user name or password")
	case u.Fragment != "":
		return errors.New("must not have a fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("must be https; plain http is for localhost and loopback addresses only")
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// checkRedirect follows to the same host only: another one is not what the
// configuration trusts.
func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case next.URL.Scheme != first.Scheme || next.URL.Host != first.Host:
		return errors.New("it redirects to another host")
	case len(via) > maxRedirects:
		return errors.New("it redirects too often")
	}
	return nil
}

func (u *urlSource) String() string { return u.url }

func (u *urlSource) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "caddy-hubspot")
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	return readKeys(resp.Body)
}
