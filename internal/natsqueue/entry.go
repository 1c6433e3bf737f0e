package natsqueue

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

const (
	// headerMessage holds a message without its content, headerEvents how many
	// events it has.
	headerMessage = "Hubspot-Message"
	headerEvents  = "Hubspot-Events"
	headerCoding  = "Content-Encoding"
)

// entry is what is known of a message without its content.
type entry struct {
	ID       string    `json:"id"`
	Seq      uint64    `json:"seq"`
	App      string    `json:"app"`
	Portal   int64     `json:"portal"`
	Lane     string    `json:"lane,omitempty"`
	Received time.Time `json:"received"`
	Events   int       `json:"events"`
	state    state

	out    bool // it is handed out
	queued bool // it is in its portal's ready or in delayed
	gone   bool // it is no longer in the index
}

// state is what changes of a message while it is kept, as its record has it.
type state struct {
	Attempts int       `json:"attempts"`
	Status   int       `json:"status,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Due      time.Time `json:"due,omitzero"`
	Dead     bool      `json:"dead,omitempty"`
	// Behind is the last message of the stream when a dead letter was made to
	// wait again: its place is behind that.
	Behind uint64 `json:"behind,omitempty"`
}

// before is the order in which messages are handed out.
func (e *entry) before(other *entry) bool {
	a, b := max(e.Seq, e.state.Behind), max(other.Seq, other.state.Behind)
	if a != b {
		return a < b
	}
	if again := e.state.Behind > e.Seq; again != (other.state.Behind > other.Seq) {
		return !again
	}
	return e.Seq < other.Seq
}

func (e *entry) partition() int { return partitionOf(e.App, e.Portal) }

func (e *entry) shown() webhookqueue.Entry {
	return webhookqueue.Entry{
		ID: e.ID, App: e.App, Portal: e.Portal, Attempts: e.state.Attempts, ReceivedAt: e.Received,
		LastAt: e.state.At, LastStatus: e.state.Status, Events: e.Events, Dead: e.state.Dead,
	}
}

// toNATS is a message as it is published.
func toNATS(n names, m webhookqueue.Message, maxPayload int64) (*nats.Msg, error) {
	head := webhookqueue.Message{ID: m.ID, App: m.App, Portal: m.Portal, Lane: m.Lane, ReceivedAt: m.ReceivedAt}
	msg := nats.NewMsg(n.message(partitionOf(m.App, m.Portal), m.ID))
	msg.Header.Set(headerMessage, base64.RawURLEncoding.EncodeToString(head.Encode()))
	msg.Header.Set(headerEvents, strconv.Itoa(len(m.Events)))
	msg.Data = m.Encode()
	// What is added to the header when it is published is less than 1 KiB.
	const room = 1 << 10
	if int64(msg.Size()+room) <= maxPayload {
		return msg, nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(msg.Data)
	_ = z.Close()
	msg.Header.Set(headerCoding, "gzip")
	plain := len(msg.Data)
	if msg.Data = b.Bytes(); int64(msg.Size()+room) > maxPayload {
		return nil, fmt.Errorf("%w: it has %d bytes, compressed %d, and max_payload of the server's configuration is %d: set it to 2MB",
			errRefused, plain, len(msg.Data), maxPayload)
	}
	return msg, nil
}

// fromHeader reads what is known of a message without its content.
func fromHeader(header nats.Header, seq uint64) (*entry, error) {
	b, err := base64.RawURLEncoding.DecodeString(header.Get(headerMessage))
	if err != nil {
		return nil, fmt.Errorf("reading header of message %d: %w", seq, webhookqueue.ErrCorrupt)
	}
	m, err := webhookqueue.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("reading header of message %d: %w", seq, err)
	}
	events, err := strconv.Atoi(header.Get(headerEvents))
	if err != nil {
		return nil, fmt.Errorf("reading header of message %d: %w", seq, webhookqueue.ErrCorrupt)
	}
	return &entry{ID: m.ID, Seq: seq, App: m.App, Portal: m.Portal, Lane: m.Lane, Received: m.ReceivedAt, Events: events}, nil
}

// maxContent is more than any message has: HubSpot's bodies are 1 MiB at most.
const maxContent = 8 << 20

// fromNATS reads a message.
func fromNATS(header nats.Header, data []byte) (webhookqueue.Message, error) {
	if header.Get(headerCoding) == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return webhookqueue.Message{}, webhookqueue.ErrCorrupt
		}
		if data, err = io.ReadAll(io.LimitReader(z, maxContent)); err != nil {
			return webhookqueue.Message{}, webhookqueue.ErrCorrupt
		}
	}
	return webhookqueue.Decode(data)
}
