// Package journal is the sandbox's webhooks journal: files of events that an
// app fetches, in the place of webhooks that HubSpot would send. It knows
// nothing of HTTP.
package journal

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// Retention is how long a file is kept.
	Retention = 3 * 24 * time.Hour
	// linkLife is how long the link of a file works.
	linkLife = 5 * time.Minute
)

// The event types of an app's life, as subscriptions name them.
const (
	TypeInstall   = "4-1909196"
	TypeUninstall = "4-1916193"
)

// actions are the words of the events for the types.
var actions = map[string]string{TypeInstall: "APP_INSTALL", TypeUninstall: "APP_UNINSTALL"}

// ErrUnknownOffset means that there is no file with that offset, or no longer.
var ErrUnknownOffset = errors.New("unknown offset")

// Subscription is what an app wants to be told. The sandbox has events of
// APP_LIFECYCLE_EVENT only.
type Subscription struct {
	ID          int64     `json:"id"`
	AppID       int64     `json:"appId"`
	Type        string    `json:"subscriptionType"`
	EventTypeID string    `json:"eventTypeId,omitempty"`
	Actions     []string  `json:"actions,omitempty"`
	Properties  []string  `json:"properties,omitempty"`
	CreatedAt   time.Time `json:"createdAt"`
	UpdatedAt   time.Time `json:"updatedAt"`
}

// Happening is something in an app's life.
type Happening struct {
	// ClientID and AppID are the app, HubID and UserID whose account and whose
	// act it was.
	ClientID             string
	AppID, HubID, UserID int64
	// EventTypeID is one of those above.
	EventTypeID string
}

// Entry points to a file.
type Entry struct {
	Offset    string
	ExpiresAt time.Time
	// ID and Signature are the file's link.
	ID, Signature string
}

// Journal keeps the journals of all apps. It is safe for concurrent use.
type Journal struct {
	now func() time.Time

	mu            sync.Mutex
	nextID        int64
	subscriptions map[string][]Subscription
	files         map[string][]*file
	away          bool
}

// file is one of the journal. Its link is made when somebody asks for it.
type file struct {
	offset, id, signature string
	publishedAt           time.Time
	linkUntil             time.Time
	content               []byte
}

// event is one of a file (HubSpot's webhooks journal, 2026-09).
type event struct {
	Type        string            `json:"type"`
	PortalID    int64             `json:"portalId"`
	OccurredAt  string            `json:"occurredAt"`
	Action      string            `json:"action"`
	EventTypeID string            `json:"eventTypeId"`
	Properties  map[string]string `json:"properties"`
}

type content struct {
	Offset        string  `json:"offset"`
	JournalEvents []event `json:"journalEvents"`
	PublishedAt   string  `json:"publishedAt"`
}

// New makes a journal without anything, whose clock is now.
func New(now func() time.Time) *Journal {
	return &Journal{now: now, subscriptions: make(map[string][]Subscription), files: make(map[string][]*file)}
}

// Happened writes a file for the app, if it is subscribed to what happened.
func (j *Journal) Happened(h Happening) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.prune(h.ClientID)
	wanted := func(s Subscription) bool { return s.EventTypeID == h.EventTypeID }
	if !slices.ContainsFunc(j.subscriptions[h.ClientID], wanted) {
		return
	}
	now := j.now().UTC()
	f := &file{offset: uuid.NewString(), id: uuid.NewString(), publishedAt: now}
	user := strconv.FormatInt(h.UserID, 10)
	// Only types of this package are encoded; none of them can fail.
	f.content, _ = json.Marshal(content{
		Offset: f.offset, PublishedAt: now.Format(time.RFC3339Nano),
		JournalEvents: []event{{
			Type: "app_lifecycle_event", PortalID: h.HubID, OccurredAt: now.Format("2006-01-02T15:04:05.000Z"),
			Action: actions[h.EventTypeID], EventTypeID: h.EventTypeID,
			Properties: map[string]string{
				"hs_app_id": strconv.FormatInt(h.AppID, 10), "hs_app_install_level": "PORTAL",
				"hs_initiating_user_id": user, "hs_user_id": user,
			},
		}},
	})
	j.files[h.ClientID] = append(j.files[h.ClientID], f)
}

// prune drops files that are too old. The caller holds mu.
func (j *Journal) prune(clientID string) {
	oldest := j.now().Add(-Retention)
	j.files[clientID] = slices.DeleteFunc(j.files[clientID], func(f *file) bool { return f.publishedAt.Before(oldest) })
}

// After returns up to count entries behind an offset; the empty one is the
// beginning.
func (j *Journal) After(clientID, offset string, count int) ([]Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.prune(clientID)
	files := j.files[clientID]
	if offset != "" {
		i := slices.IndexFunc(files, func(f *file) bool { return f.offset == offset })
		if i < 0 {
			return nil, ErrUnknownOffset
		}
		files = files[i+1:]
	}
	return j.link(files[:min(count, len(files))]), nil
}

// Latest returns the last entries, up to count of them.
func (j *Journal) Latest(clientID string, count int) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.prune(clientID)
	files := j.files[clientID]
	return j.link(files[max(len(files)-count, 0):])
}

// Read returns the entries with these offsets, and those that there are not.
func (j *Journal) Read(clientID string, offsets []string) (found []Entry, missing []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.prune(clientID)
	for _, offset := range offsets {
		i := slices.IndexFunc(j.files[clientID], func(f *file) bool { return f.offset == offset })
		if i < 0 {
			missing = append(missing, offset)
			continue
		}
		found = append(found, j.link(j.files[clientID][i:i+1])...)
	}
	return found, missing
}

// link gives files links that work for a while. The caller holds mu.
func (j *Journal) link(files []*file) []Entry {
	entries := make([]Entry, 0, len(files))
	for _, f := range files {
		if now := j.now(); now.After(f.linkUntil.Add(-linkLife / 2)) {
			f.signature, f.linkUntil = rand.Text(), now.Add(linkLife)
		}
		entries = append(entries, Entry{Offset: f.offset, ExpiresAt: f.linkUntil, ID: f.id, Signature: f.signature})
	}
	return entries
}

// File returns the content behind a link; ok is false for one that is wrong or
// has ended, and while files are away.
func (j *Journal) File(id, signature string) (data []byte, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, files := range j.files {
		for _, f := range files {
			if f.id == id {
				right := subtle.ConstantTimeCompare([]byte(f.signature), []byte(signature)) == 1
				return f.content, right && f.signature != "" && j.now().Before(f.linkUntil) && !j.away
			}
		}
	}
	return nil, false
}

// Subscribe adds a subscription, or returns the one that is there.
func (j *Journal) Subscribe(clientID string, s Subscription) Subscription {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, other := range j.subscriptions[clientID] {
		if other.Type == s.Type && other.EventTypeID == s.EventTypeID {
			return other
		}
	}
	j.nextID++
	s.ID, s.CreatedAt = j.nextID, j.now().UTC()
	s.UpdatedAt = s.CreatedAt
	if len(s.Actions) == 0 {
		s.Actions = []string{actions[s.EventTypeID]}
	}
	j.subscriptions[clientID] = append(j.subscriptions[clientID], s)
	return s
}

// Subscriptions are those of an app.
func (j *Journal) Subscriptions(clientID string) []Subscription {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.subscriptions[clientID])
}

// Unsubscribe ends a subscription, and reports whether there was one.
func (j *Journal) Unsubscribe(clientID string, id int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := len(j.subscriptions[clientID])
	j.subscriptions[clientID] = slices.DeleteFunc(j.subscriptions[clientID], func(s Subscription) bool { return s.ID == id })
	return len(j.subscriptions[clientID]) < before
}

// Fault is what can be done to the journal.
type Fault struct {
	// Lose drops every file, as HubSpot does after three days: offsets that
	// an app has noted are unknown afterwards.
	Lose bool `json:"lose"`
	// FilesAway has links not work, or again.
	FilesAway *bool `json:"files_away"`
}

// Apply has a fault take effect.
func (j *Journal) Apply(f Fault) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if f.Lose {
		clear(j.files)
	}
	if f.FilesAway != nil {
		j.away = *f.FilesAway
	}
}
