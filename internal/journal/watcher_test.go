package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
	"github.com/caddy-hubspot/caddy-hubspot/internal/journal"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sidecartest"
)

const otherHubID = sandbox.DemoLimitedHubID

// hurry makes the lease 600 ms.
const hurry = 50

// follow starts a watcher for the kit's app.
func follow(k *sidecartest.Kit, change ...func(*journal.Config)) *journal.Watcher {
	k.T.Helper()
	app := k.App("hbdev")
	documents, _ := k.Store.(connection.DocumentStore)
	c := journal.Config{App: app.Name, Endpoints: app.Endpoints, Store: documents, Manager: app.Manager, Logger: k.Logger, Owner: "test", Hurry: hurry}
	for _, apply := range change {
		apply(&c)
	}
	w, err := journal.New(c)
	if err != nil {
		k.T.Fatal(err)
	}
	w.Start()
	k.T.Cleanup(w.Close)
	return w
}

// reading waits until the journal was read to its end.
func reading(k *sidecartest.Kit, w *journal.Watcher) {
	k.T.Helper()
	k.WaitFor("reading to the end", func() bool { return !w.Status().ReadAt.IsZero() && w.Status().Problem == "" })
}

// second is another sidecar with the same store and the same HubSpot.
func second(t *testing.T, k *sidecartest.Kit) *sidecartest.Kit {
	t.Helper()
	return sidecartest.New(t, sidecartest.Config{API: k.SandboxURL, Store: k.Store})
}

func stored(k *sidecartest.Kit, user string) connection.Record {
	k.T.Helper()
	v, err := k.Store.Load(context.Background(), connection.Key{App: "hbdev", User: user})
	if err != nil {
		k.T.Fatal(err)
	}
	return v.Record
}

func isUninstalled(k *sidecartest.Kit, user string) bool {
	r := stored(k, user)
	return r.Status == connection.StatusReauthRequired && r.Reason == connection.ReasonUninstalled && r.AccessToken.IsZero()
}

func token(k *sidecartest.Kit, user string) error {
	_, err := k.App("hbdev").Manager.Token(k.T.Context(), user)
	return err
}

// TestUninstall: all connections of the portal end at every sidecar, those that
// nobody has in memory too, and no others.
func TestUninstall(t *testing.T) {
	t.Parallel()
	a := sidecartest.New(t, sidecartest.Config{})
	a.ConnectInSandbox("acme", sandbox.DemoHubID)
	a.ConnectInSandbox("acme-too", sandbox.DemoHubID)
	a.ConnectInSandbox("globex", otherHubID)
	b := second(t, a)
	for _, user := range []string{"acme", "globex"} {
		if err := token(b, user); err != nil {
			t.Fatal(err)
		}
	}
	wa, wb := follow(a), follow(b)
	reading(a, wa)
	reading(b, wb)
	a.Fault(fmt.Sprintf(`{"uninstall":{"hub_id":%d}}`, sandbox.DemoHubID))
	a.WaitFor("both connections to end", func() bool { return isUninstalled(a, "acme") && isUninstalled(a, "acme-too") })
	for _, k := range []*sidecartest.Kit{a, b} {
		k.WaitFor("the sidecar to know", func() bool { return errors.Is(token(k, "acme"), connection.ErrReauthRequired) })
		if err := token(k, "globex"); err != nil {
			t.Errorf("the other portal's: %v", err)
		}
	}
	if s := stored(a, "globex").Status; s != connection.StatusActive {
		t.Errorf("the other portal's is %s", s)
	}
	for _, k := range []*sidecartest.Kit{a, b} {
		if alarms := k.App("hbdev").Manager.Alarms(); len(alarms) != 0 {
			t.Errorf("alarms %v", alarms)
		}
	}
	if strings.Contains(a.Logs.String(), "X-Amz-Signature") || strings.Contains(b.Logs.String(), "X-Amz-Signature") {
		t.Error("a link is in the log")
	}
	made := a.Sandbox.Stats().Endpoints["POST /webhooks-journal/subscriptions/{version}"]
	if made["201"] != 2 {
		t.Errorf("subscriptions were made: %v", made)
	}
}

// TestReinstalled: an uninstall that is read late does not end what was connected
// after it.
func TestReinstalled(t *testing.T) {
	t.Parallel()
	k := sidecartest.New(t, sidecartest.Config{})
	first := follow(k)
	reading(k, first)
	first.Close()
	k.ConnectInSandbox("acme", sandbox.DemoHubID)
	k.Fault(`{"uninstall":{}}`)
	k.ConnectInSandbox("acme", sandbox.DemoHubID)
	k.Fault(`{"expire_access_tokens":{}}`)
	counted := new(counter)
	w := follow(k, func(c *journal.Config) { c.Observer = counted })
	k.WaitFor("the uninstall to be read", func() bool { return counted.of("uninstall") == 1 && w.Status().Pending == 0 && w.Status().Reads })
	k.WaitFor("the end of the journal", func() bool { return counted.of("install") == 2 })
	if r := stored(k, "acme"); r.Status != connection.StatusActive {
		t.Errorf("the new connection is %s: %s", r.Status, r.Reason)
	}
}

// counter counts events.
type counter struct {
	mu     sync.Mutex
	events map[string]int
	readAt time.Time
}

func (c *counter) JournalEvents(_, event string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events == nil {
		c.events = make(map[string]int)
	}
	c.events[event] += n
}

func (c *counter) JournalRead(_ string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readAt = at
}

func (c *counter) of(event string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[event]
}

// TestOneReader: of many sidecars one reads. When that one is gone without a
// word, another goes on.
func TestOneReader(t *testing.T) {
	t.Parallel()
	k := sidecartest.New(t, sidecartest.Config{})
	frozen := &pausable{Store: k.Store, documents: k.Store.(connection.DocumentStore)}
	dying := follow(k, func(c *journal.Config) { c.Store = frozen })
	reading(k, dying)
	others := []*journal.Watcher{follow(second(t, k)), follow(second(t, k))}
	readers := func(all []*journal.Watcher) (n int) {
		for _, w := range all {
			if w.Status().Reads {
				n++
			}
		}
		return n
	}
	for _, w := range others {
		reading(k, w)
	}
	if n := readers(append(slices.Clone(others), dying)); n != 1 || !dying.Status().Reads {
		t.Errorf("%d read", n)
	}
	frozen.pause() // as by kill -9: the claim stays
	k.WaitFor("another reader", func() bool { return readers(others) == 1 })
}

// pausable is a store that stops to answer for documents.
type pausable struct {
	connection.Store
	documents connection.DocumentStore
	mu        sync.Mutex
	paused    bool
}

func (p *pausable) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
}

func (p *pausable) away() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		return connection.ErrUnavailable
	}
	return nil
}

func (p *pausable) LoadDocument(ctx context.Context, name string) (string, uint64, error) {
	if err := p.away(); err != nil {
		return "", 0, err
	}
	return p.documents.LoadDocument(ctx, name)
}

func (p *pausable) SaveDocument(ctx context.Context, name, text string, based uint64) (uint64, error) {
	if err := p.away(); err != nil {
		return 0, err
	}
	return p.documents.SaveDocument(ctx, name, text, based)
}

// TestReadAtMoves: how long ago the journal was read is told by all sidecars,
// though nothing happens.
func TestReadAtMoves(t *testing.T) {
	t.Parallel()
	k := sidecartest.New(t, sidecartest.Config{})
	reader := follow(k)
	reading(k, reader)
	first := reader.Status().ReadAt
	other := follow(second(t, k))
	// HubSpot's time has whole seconds.
	k.WaitFor("both to tell of another reading", func() bool {
		return reader.Status().ReadAt.After(first.Add(time.Second)) && other.Status().ReadAt.After(first.Add(time.Second))
	})
}

// TestClosedReaderGivesWay: an orderly end leaves the claim to others at once.
func TestClosedReaderGivesWay(t *testing.T) {
	t.Parallel()
	k := sidecartest.New(t, sidecartest.Config{})
	w := follow(k)
	reading(k, w)
	w.Close()
	// The lease of this one is 30 s.
	next := follow(second(t, k), func(c *journal.Config) { c.Hurry = 1 })
	k.WaitFor("the next reader", func() bool { return next.Status().Reads })
}

// TestEndInBetween: what a reader has written down and not done is done by the
// one after it.
func TestEndInBetween(t *testing.T) {
	t.Parallel()
	k := sidecartest.New(t, sidecartest.Config{})
	k.ConnectInSandbox("acme", sandbox.DemoHubID)
	k.Fault(`{"uninstall":{}}`)
	text, err := json.Marshal(map[string]any{
		"format": 1, "seq": 7, "writeId": "x", "claim": "of a process that is gone",
		"uninstalls": []map[string]any{{"seq": 7, "hubId": sandbox.DemoHubID, "at": time.Now().Add(time.Hour)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Store.(connection.DocumentStore).SaveDocument(t.Context(), journal.DocumentName("hbdev"), string(text), 0); err != nil {
		t.Fatal(err)
	}
	follow(k)
	k.WaitFor("the connection to end", func() bool { return isUninstalled(k, "acme") })
}

// TestLostOffset: after an offset that HubSpot does not know any more reading
// begins anew, and says that something may be missing.
func TestLostOffset(t *testing.T) {
	t.Parallel()
	k := sidecartest.New(t, sidecartest.Config{})
	counted := new(counter)
	w := follow(k, func(c *journal.Config) { c.Observer = counted })
	reading(k, w)
	k.ConnectInSandbox("acme", sandbox.DemoHubID)
	k.WaitFor("the install to be read", func() bool { return counted.of("install") == 1 })
	k.Fault(`{"journal":{"lose":true}}`)
	k.WaitFor("the alarm", func() bool { _, ok := k.App("hbdev").Manager.Alarms()[connection.AlarmJournalGap]; return ok })
	if gap := w.Status().Gap; gap == nil || gap.Reason != journal.GapOffset || gap.Since.IsZero() {
		t.Errorf("gap %+v", gap)
	}
	k.Fault(`{"uninstall":{}}`)
	k.WaitFor("the connection to end", func() bool { return isUninstalled(k, "acme") })
	if n := strings.Count(k.Logs.String(), "may be lost"); n != 1 {
		t.Errorf("%d lines about the loss", n)
	}
}

// TestJournalAway: what cannot be read is said, and read when it is there again.
func TestJournalAway(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"the journal": `{"api":{"path_prefix":"/webhooks-journal","answer":"server_error"}}`,
		"the files":   `{"journal":{"files_away":true}}`,
		"its token":   `{"token":{"grant_type":"client_credentials","answer":"server_error"},"api":{"path_prefix":"/webhooks-journal","answer":"unauthorized"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := sidecartest.New(t, sidecartest.Config{})
			w := follow(k)
			reading(k, w)
			k.ConnectInSandbox("acme", sandbox.DemoHubID)
			k.Fault(fault)
			k.Fault(`{"uninstall":{}}`)
			raised := func() bool { _, ok := k.App("hbdev").Manager.Alarms()[connection.AlarmJournal]; return ok }
			k.WaitFor("the alarm", raised)
			if isUninstalled(k, "acme") {
				t.Error("ended although nothing could be read")
			}
			k.EndFaults()
			k.WaitFor("the connection to end", func() bool { return isUninstalled(k, "acme") })
			k.WaitFor("the end of the alarm", func() bool { return !raised() && w.Status().Problem == "" })
		})
	}
}

// TestStoreWithoutDocuments says so.
func TestStoreWithoutDocuments(t *testing.T) {
	t.Parallel()
	k := sidecartest.New(t, sidecartest.Config{})
	w := follow(k, func(c *journal.Config) { c.Store = nil })
	k.WaitFor("the alarm", func() bool { return len(k.App("hbdev").Manager.Alarms()) == 1 })
	if p := w.Status().Problem; !strings.Contains(p, "store vault") {
		t.Errorf("problem %q", p)
	}
	w.Close()
	if len(k.App("hbdev").Manager.Alarms()) != 0 {
		t.Error("the alarm has outlived the watcher")
	}
}
