package journal

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func fetcherOf(t *testing.T, api string) *fetcher {
	t.Helper()
	u, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	f := newFetcher(u)
	t.Cleanup(f.close)
	return f
}

func TestLinksThatAreFollowed(t *testing.T) {
	t.Parallel()
	hubSpot, local := fetcherOf(t, "https://api.hubapi.com"), fetcherOf(t, "http://localhost:4000")
	for _, tc := range []struct {
		link  string
		good  bool
		local bool
	}{
		{link: "https://hubspot-webhooks-journal.s3.us-east-1.amazonaws.com/a/b?X-Amz-Signature=x", good: true},
		{link: "https://storage.example:443/a", good: true},
		{link: "https://hubapi.com.example.net/a", good: true},
		{link: "http://storage.example.net/a"},
		{link: "https://api.hubapi.com/a"},
		{link: "https://API.HubApi.com./a"},
		{link: "https://api-eu1.hubapi.com/a"},
		{link: "https://hubapi.com/a"},
		{link: "https://storage.example.net:8443/a"},
		{link: "https://user:password@storage.example.net/a"},
		{link: "https://169.254.169.254/latest/meta-data"},
		{link: "https://[::1]/a"}, {link: "https://[fd00::1]/a"}, {link: "https://127.0.0.1/a"}, {link: "https://2130706433/a"}, {link: "https://0x7f.1/a"}, {link: "https://127.1/a"},
		{link: "https://localhost/a"}, {link: "https://vault/a"},
		{link: "file:///etc/passwd"}, {link: "ftp://storage.example.net/a"}, {link: "//storage.example.net/a"}, {link: "/a"}, {link: ""}, {link: "https:///a"}, {link: "https:storage.example.net"}, {link: "http://localhost:4000/a"},
		{local: true, link: "http://localhost:4000/_sandbox/journal-files/x", good: true},
		{local: true, link: "http://LOCALHOST:4000/x", good: true},
		{local: true, link: "http://localhost:4001/x"}, {local: true, link: "http://127.0.0.1:4000/x"}, {local: true, link: "https://localhost:4000/x"},
		{local: true, link: "http://user@localhost:4000/x"},
		{local: true, link: "https://storage.example.net/x", good: true},
	} {
		f := hubSpot
		if tc.local {
			f = local
		}
		_, err := f.check(tc.link)
		if (err == nil) != tc.good || err != nil && !errors.Is(err, errLink) {
			t.Errorf("%s: error %v", tc.link, err)
		}
	}
}

// TestNamesThatLeadInside: what a public name resolves to is looked at where the
// connection is made.
func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"52.216.0.1:443": true, "[2600:1f00::1]:443": true,
		"127.0.0.1:443": false, "10.0.0.1:443": false, "172.16.0.1:443": false, "192.168.1.1:443": false, "169.254.169.254:443": false,
		"100.64.0.1:443": false, "0.0.0.0:443": false, "224.0.0.1:443": false, "255.255.255.255:443": false, "198.18.0.1:443": false,
		"[::1]:443": false, "[fe80::1]:443": false, "[fd00::1]:443": false, "[::ffff:127.0.0.1]:443": false, "[64:ff9b::7f00:1]:443": false, "[2002:7f00:1::]:443": false, "[::]:443": false,
	} {
		if err := refusePrivate("tcp", address, nil); (err == nil) != good {
			t.Errorf("%s: error %v", address, err)
		}
	}
	f := fetcherOf(t, "https://api.hubapi.com")
	res, err := f.direct.Get("http://localhost:1/") //nolint:noctx // never sent
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, errLink) {
		t.Errorf("the client that makes connections itself does not look: %v", err)
	}
}

// storage is a server on loopback that stands for the API's origin.
func storage(t *testing.T, handler http.HandlerFunc) (*fetcher, string) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return fetcherOf(t, s.URL), s.URL + "/file?X-Amz-Signature=planted"
}

func TestFetch(t *testing.T) {
	t.Parallel()
	f, link := storage(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("the request has %v", r.Header)
		}
		_, _ = w.Write([]byte(`{"journalEvents":[]}`))
	})
	if data, err := f.fetch(t.Context(), link); err != nil || string(data) != `{"journalEvents":[]}` {
		t.Errorf("%s, %v", data, err)
	}
}

func TestFetchThatFails(t *testing.T) {
	t.Parallel()
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"an ended link": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
		},
		"a cut answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		},
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			piece := make([]byte, 1<<20)
			for range maxFile>>20 + 1 {
				_, _ = w.Write(piece)
			}
		},
		"too large a header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Large", strings.Repeat("x", 2*maxFileHeader))
		},
	} {
		f, link := storage(t, handler)
		_, err := f.fetch(t.Context(), link)
		if err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: error %v", name, err)
		}
		if errors.Is(err, errFile) != (name == "too much") {
			t.Errorf("%s: taken for a file that is none: %v", name, err)
		}
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}

func TestParseFile(t *testing.T) {
	t.Parallel()
	event := func(hub int64, at, kind, more string) string {
		return fmt.Sprintf(`{"type":"app_lifecycle_event","portalId":%d,"occurredAt":%q,"eventTypeId":%q%s}`, hub, at, kind, more)
	}
	for _, tc := range []struct {
		name, events string
		want         string
	}{
		{"one", event(1, "2026-11-28T08:00:00Z", typeUninstall, ""), "1@08:00"},
		{"twice and out of order", event(1, "2026-11-28T09:00:00.000Z", typeUninstall, "") + "," + event(1, "2026-11-28T08:00:00Z", typeUninstall, ""), "1@09:00"},
		{"by its action", `{"portalId":2,"occurredAt":"2026-11-28T08:00:00Z","action":"APP_UNINSTALL"}`, "2@08:00"},
		{"an install", event(1, "2026-11-28T08:00:00Z", typeInstall, ""), ""},
		{"of this app", event(1, "2026-11-28T08:00:00Z", typeUninstall, `,"properties":{"hs_app_id":"77","hs_app_install_level":"PORTAL"}`), "1@08:00"},
		{"of this app, as a number", event(1, "2026-11-28T08:00:00Z", typeUninstall, `,"properties":{"hs_app_id":77}`), "1@08:00"},
		{"of another app", event(1, "2026-11-28T08:00:00Z", typeUninstall, `,"properties":{"hs_app_id":"78"}`), ""},
		{"of one person", event(1, "2026-11-28T08:00:00Z", typeUninstall, `,"properties":{"hs_app_install_level":"USER"}`), ""},
		{"of another subscription", `{"type":"crmObject","portalId":"x","occurredAt":5,"action":"CREATE"}`, ""},
		{"without a time", event(1, "", typeUninstall, ""), "error"},
		{"without a portal", event(0, "2026-11-28T08:00:00Z", typeUninstall, ""), "error"},
	} {
		l, err := parseFile([]byte(`{"offset":"o","journalEvents":[`+tc.events+`]}`), 77)
		var got []string
		for hub, at := range l.uninstalled {
			got = append(got, fmt.Sprintf("%d@%s", hub, at.UTC().Format("15:04")))
		}
		if err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, " ") != tc.want || err != nil && !errors.Is(err, errFile) {
			t.Errorf("%s: %v, %v", tc.name, got, err)
		}
	}
	for _, text := range []string{"", "[]", `"x"`, `{"journalEvents":5}`, "<html>"} {
		if _, err := parseFile([]byte(text), 0); !errors.Is(err, errFile) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	if a, b := nameOf("hbdev"), nameOf("hb-dev"); a == b || len(a) > 32 || strings.Trim(a, "abcdefghijklmnopqrstuvwxyz") != "" {
		t.Errorf("names %s and %s", a, b)
	}
	for _, text := range []string{"[", `{"format":2}`, `{"seq":1}`} {
		if _, err := decode(text); err == nil || strings.Contains(err.Error(), "seq") {
			t.Errorf("%s: error %v", text, err)
		}
	}
	d := document{App: "hbdev"}
	for hub := range int64(300) {
		d.add(hub+1, d.AsOf.AddDate(1, 0, 0), false)
	}
	if len(d.pending()) != 300 {
		t.Errorf("%d pending", len(d.pending()))
	}
	d.finish()
	if len(d.pending()) != 0 || len(d.Uninstalls) != keepDone || d.Uninstalls[keepDone-1].HubID != 300 || d.Seq != 300 {
		t.Errorf("after it is done: %d pending, %d kept", len(d.pending()), len(d.Uninstalls))
	}
}
