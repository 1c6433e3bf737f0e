package journal_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/journal"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

// withFiles is a sidecar whose HubSpot is the sandbox of another, with files
// that serve has a say in: it returns the content, or nothing for the real one.
func withFiles(t *testing.T, k *sidecartest.Kit, serve func() string) *sidecartest.Kit {
	t.Helper()
	target, err := url.Parse(k.SandboxURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(target)
		pr.Out.Host = pr.In.Host // links are to lead here
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_sandbox/journal-files/") {
			if content := serve(); content != "" {
				_, _ = w.Write([]byte(content))
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return sidecartest.New(t, sidecartest.Config{API: server.URL, Store: k.Store})
}

// TestUnreadableFile: a file that is none holds up the others for a while only,
// and nobody believes that nothing was in it.
func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	box := sidecartest.New(t, sidecartest.Config{})
	var fetched atomic.Int64
	var broken atomic.Bool
	k := withFiles(t, box, func() string {
		if !broken.Load() {
			return ""
		}
		fetched.Add(1)
		return "<html>"
	})
	w := follow(k)
	reading(k, w)
	broken.Store(true)
	box.ConnectInSandbox("acme", sandbox.DemoHubID)
	alarm := func() bool { _, ok := k.App("hbdev").Manager.Alarms()[connection.AlarmJournalGap]; return ok }
	k.WaitFor("the file to be passed over", alarm)
	broken.Store(false)
	if gap := w.Status().Gap; gap == nil || gap.Reason != journal.GapFile || fetched.Load() < 5 {
		t.Errorf("gap %+v after %d tries", gap, fetched.Load())
	}
	box.Fault(`{"uninstall":{}}`)
	k.WaitFor("the connection to end", func() bool { return isUninstalled(k, "acme") })
}

// TestManyUninstalls: more than a document takes are done all the same, and the
// other sidecars see it.
func TestManyUninstalls(t *testing.T) {
	t.Parallel()
	box := sidecartest.New(t, sidecartest.Config{})
	var file atomic.Pointer[string]
	k := withFiles(t, box, func() string {
		if content := file.Load(); content != nil {
			return *content
		}
		return ""
	})
	w, other := follow(k), follow(box)
	reading(k, w)
	reading(box, other)
	// Whichever of the two reads has to get the file.
	if other.Status().Reads {
		other.Close()
		k.WaitFor("the right reader", func() bool { return w.Status().Reads })
		other = follow(box)
		reading(box, other)
	}
	box.ConnectInSandbox("acme", sandbox.DemoHubID)
	box.ConnectInSandbox("globex", otherHubID)
	var events []string
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for hub := range int64(700) {
		events = append(events, fmt.Sprintf(`{"portalId":%d,"occurredAt":%q,"eventTypeId":"4-1916193"}`, sandbox.DemoHubID-hub, at))
	}
	content := `{"journalEvents":[` + strings.Join(events, ",") + `]}`
	file.Store(&content)
	box.Fault(`{"uninstall":{}}`)
	k.WaitFor("the connection to end", func() bool { return isUninstalled(k, "acme") })
	box.WaitFor("the other sidecar to know", func() bool { return errors.Is(token(box, "acme"), connection.ErrReauthRequired) })
	if stored(k, "globex").Status != connection.StatusActive {
		t.Error("a connection of no portal in the file has ended")
	}
}
