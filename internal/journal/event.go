package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Types of events in an app's life, and the words for them
// (https://developers.hubspot.com/docs/api-reference/latest/webhooks-journal/guide).
const (
	typeInstall   = "4-1909196"
	typeUninstall = "4-1916193"

	actionInstall   = "APP_INSTALL"
	actionUninstall = "APP_UNINSTALL"
)

// levelPortal is an install for the whole account.
const levelPortal = "PORTAL"

// event is one of a file. What other subscriptions of the app bring has other
// fields, which nobody looks at.
type event struct {
	PortalID    int64          `json:"portalId"`
	OccurredAt  string         `json:"occurredAt"`
	Action      string         `json:"action"`
	EventTypeID string         `json:"eventTypeId"`
	Properties  map[string]any `json:"properties"`
}

// kind is [actionInstall], [actionUninstall] or empty.
func (e event) kind() string {
	switch {
	case e.EventTypeID == typeUninstall, e.EventTypeID == "" && e.Action == actionUninstall:
		return actionUninstall
	case e.EventTypeID == typeInstall, e.EventTypeID == "" && e.Action == actionInstall:
		return actionInstall
	}
	return ""
}

// isOf reports whether the event is about the app, as far as both say which.
func (e event) isOf(appID int64) bool {
	id, ok := e.Properties["hs_app_id"]
	return !ok || appID == 0 || fmt.Sprint(id) == fmt.Sprint(appID)
}

// isOfPortal reports whether it is about all of the account, and not about one
// person's install.
func (e event) isOfPortal() bool {
	level, _ := e.Properties["hs_app_install_level"].(string)
	return level == "" || strings.EqualFold(level, levelPortal)
}

// life is what a file tells of the app's life.
type life struct {
	// uninstalled has the last uninstall of each portal.
	uninstalled map[int64]time.Time
	// installs, uninstalls and personal count events; personal are uninstalls
	// by one person of an account.
	installs, uninstalls, personal int
}

var errFile = errors.New("the file of the journal is not one")

// parseFile reads a file. Errors wrap errFile and hold nothing of it.
func parseFile(data []byte, appID int64) (life, error) {
	var file struct {
		Events []json.RawMessage `json:"journalEvents"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return life{}, fmt.Errorf("%w: it is not JSON with events", errFile)
	}
	l := life{uninstalled: make(map[int64]time.Time)}
	for _, raw := range file.Events {
		var e event
		// Of another subscription, whose fields have other types.
		if json.Unmarshal(raw, &e) != nil || e.kind() == "" || !e.isOf(appID) {
			continue
		}
		if err := l.add(e); err != nil {
			return life{}, err
		}
	}
	return l, nil
}

func (l *life) add(e event) error {
	if e.kind() == actionInstall {
		l.installs++
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, e.OccurredAt)
	if err != nil || e.PortalID <= 0 {
		return fmt.Errorf("%w: an uninstall does not say when or where", errFile)
	}
	if !e.isOfPortal() {
		l.personal++
		return nil
	}
	l.uninstalls++
	if at.After(l.uninstalled[e.PortalID]) {
		l.uninstalled[e.PortalID] = at
	}
	return nil
}
