package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// By says how events are kept together or in order. The zero value is by nothing.
type By int

const (
	ByNone By = iota
	ByPortal
	// ByEvent is for splitting only.
	ByEvent
	// ByObject is for order only.
	ByObject
)

// Splitter makes messages of what HubSpot sends.
type Splitter struct {
	// App is the name of the app.
	App string
	// Split says what is delivered in one request: what came in one (ByNone),
	// the events of a portal, or one event.
	Split By
	// Order says what is delivered in the order in which it came: nothing
	// (ByNone), what is of one portal, or of one object. For an order, events
	// are split by portal at least. Objects can have an order of their own
	// only where events are split; else that of their portal is kept.
	Order By
}

// event is what is read of one of HubSpot's events, as it is written there.
type event struct {
	PortalID       int64           `json:"portalId"`
	SubscriptionID json.RawMessage `json:"subscriptionId"`
	EventID        json.RawMessage `json:"eventId"`
	ObjectID       json.RawMessage `json:"objectId"`
	FromObjectID   json.RawMessage `json:"fromObjectId"`
	ToObjectID     json.RawMessage `json:"toObjectId"`
	OccurredAt     json.RawMessage `json:"occurredAt"`
}

// Messages takes a body apart. One that is no JSON array with something in it is
// one message, as it is.
func (s Splitter) Messages(body []byte, contentType string, at time.Time) []webhookqueue.Message {
	var raw []json.RawMessage
	if json.Unmarshal(body, &raw) != nil || len(raw) == 0 {
		return []webhookqueue.Message{s.message(0, at, func(m *webhookqueue.Message) {
			m.Body, m.ContentType = body, contentType
		})}
	}
	events := make([]event, len(raw))
	for i, text := range raw {
		if json.Unmarshal(text, &events[i]) != nil {
			events[i] = event{} // not as HubSpot writes them; nobody's
		}
	}
	groups, order := s.group(events)
	messages := make([]webhookqueue.Message, 0, len(order))
	for _, name := range order {
		members := groups[name]
		messages = append(messages, s.message(commonPortal(events, members), at, func(m *webhookqueue.Message) {
			m.Lane = s.lane(events[members[0]])
			for _, i := range members {
				m.Events = append(m.Events, webhookqueue.Event{Key: s.key(events[i]), JSON: raw[i]})
			}
		}))
	}
	return messages
}

func (s Splitter) message(portal int64, at time.Time, set func(*webhookqueue.Message)) webhookqueue.Message {
	m := webhookqueue.Message{ID: newID(), App: s.App, Portal: portal, ReceivedAt: at}
	set(&m)
	return m
}

// newID makes an ID; those that are made later sort later.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.NewString()
	}
	return id.String()
}

// group says which events go into one message, and in which order the messages
// come.
func (s Splitter) group(events []event) (groups map[int64][]int, order []int64) {
	groups = make(map[int64][]int)
	for i, e := range events {
		name := int64(0)
		switch {
		case s.Split == ByEvent:
			name = int64(i)
		case s.Split == ByPortal || s.Order != ByNone:
			name = e.PortalID
		}
		if groups[name] == nil {
			order = append(order, name)
		}
		groups[name] = append(groups[name], i)
	}
	return groups, order
}

func commonPortal(events []event, members []int) int64 {
	portal := events[members[0]].PortalID
	for _, i := range members {
		if events[i].PortalID != portal {
			return 0
		}
	}
	return portal
}

// lane is the order that an event, and those that go with it, belongs to.
func (s Splitter) lane(e event) string {
	switch {
	case s.Order == ByNone:
		return ""
	case s.Order == ByObject && s.Split == ByEvent:
		object := e.ObjectID
		if len(object) == 0 {
			object = e.FromObjectID
		}
		if len(object) == 0 {
			return ""
		}
		return "object " + string(object)
	}
	return "portal"
}

// key is what an event that HubSpot sends again has in common with the first:
// event ids alone are not unique, and attemptNumber counts on. An event without an
// id or a time has none.
func (s Splitter) key(e event) (k webhookqueue.Key) {
	if len(e.EventID) == 0 || len(e.OccurredAt) == 0 {
		return k
	}
	object := [][]byte{e.ObjectID}
	if len(e.ObjectID) == 0 {
		object = [][]byte{e.FromObjectID, e.ToObjectID}
	}
	h := sha256.New()
	parts := [][]byte{[]byte(s.App), binary.BigEndian.AppendUint64(nil, uint64(e.PortalID)), e.SubscriptionID, e.EventID, e.OccurredAt}
	for _, part := range append(parts, object...) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write(part)
	}
	var occurred int64
	_ = json.Unmarshal(e.OccurredAt, &occurred)
	binary.BigEndian.PutUint32(k[:], uint32(occurred/1000))
	copy(k[4:], h.Sum(nil))
	return k
}

// Body returns what is delivered of a message, and its content type.
func Body(m webhookqueue.Message) (body []byte, contentType string) {
	if len(m.Events) == 0 {
		return m.Body, m.ContentType
	}
	parts := make([][]byte, len(m.Events))
	size := 2
	for i, e := range m.Events {
		parts[i] = e.JSON
		size += len(e.JSON) + 1
	}
	body = append(make([]byte, 0, size), '[')
	body = append(body, bytes.Join(parts, []byte{','})...)
	return append(body, ']'), "application/json"
}
