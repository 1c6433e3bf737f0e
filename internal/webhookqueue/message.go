package webhookqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Message is what is delivered in one request.
type Message struct {
	// ID names the message for as long as it is kept. It is made by whoever
	// puts it: a UUID.
	ID string
	// App is the name of the HubSpot app.
	App string
	// Portal is whose events these are; 0 if they are several's or nobody's.
	Portal int64
	// Lane holds messages in order; empty if their order does not matter.
	Lane string
	// ReceivedAt is when it came from HubSpot.
	ReceivedAt time.Time
	// Events are delivered as a JSON array. Without any, Body is delivered as
	// it came, with its ContentType.
	Events      []Event
	Body        []byte
	ContentType string
}

// Event is one of HubSpot's events.
type Event struct {
	// Key is the same for an event that HubSpot sends again. The zero Key is
	// never a duplicate. It is not part of a message that was received.
	Key Key
	// JSON is the event as HubSpot wrote it.
	JSON []byte
}

// Key tells events apart. It begins with the second in which the event occurred,
// so that keys that come together lie together where they are kept.
type Key [16]byte

// Without returns the message less the events that drop says; ok is false if
// nothing is left to deliver.
func (m Message) Without(drop func(Key) bool) (left Message, ok bool) {
	if len(m.Events) == 0 {
		return m, true
	}
	kept := make([]Event, 0, len(m.Events))
	for _, e := range m.Events {
		if e.Key == (Key{}) || !drop(e.Key) {
			kept = append(kept, e)
		}
	}
	m.Events = kept
	return m, len(kept) > 0
}

// ErrCorrupt means that bytes are no message that [Message.Encode] wrote.
var ErrCorrupt = errors.New("the message is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// codecVersion is the first byte of an encoded message.
const codecVersion = 1

// Encode returns the message, without the keys of its events, as bytes that
// [Decode] reads. They end with their checksum.
func (m Message) Encode() []byte {
	size := 64 + len(m.ID) + len(m.App) + len(m.Lane) + len(m.Body) + len(m.ContentType)
	for _, e := range m.Events {
		size += len(e.JSON) + binary.MaxVarintLen32
	}
	b := append(make([]byte, 0, size), codecVersion)
	b = appendBytes(b, []byte(m.ID))
	b = appendBytes(b, []byte(m.App))
	b = binary.AppendVarint(b, m.Portal)
	b = appendBytes(b, []byte(m.Lane))
	b = binary.AppendVarint(b, m.ReceivedAt.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(m.Events)))
	for _, e := range m.Events {
		b = appendBytes(b, e.JSON)
	}
	b = appendBytes(b, m.Body)
	b = appendBytes(b, []byte(m.ContentType))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendBytes(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// Decode reads what [Message.Encode] wrote. It keeps nothing of b. An error wraps
// ErrCorrupt.
func Decode(b []byte) (Message, error) {
	if len(b) < 5 || b[0] != codecVersion {
		return Message{}, fmt.Errorf("reading message: %w: unknown version", ErrCorrupt)
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return Message{}, fmt.Errorf("reading message: %w: wrong checksum", ErrCorrupt)
	}
	d := decoder{left: body[1:]}
	m := Message{ID: string(d.bytes()), App: string(d.bytes()), Portal: d.varint(), Lane: string(d.bytes())}
	m.ReceivedAt = time.UnixMilli(d.varint())
	for n := d.uvarint(); n > 0 && !d.failed; n-- {
		m.Events = append(m.Events, Event{JSON: d.bytes()})
	}
	if body := d.bytes(); len(body) > 0 {
		m.Body = body
	}
	m.ContentType = string(d.bytes())
	if d.failed || len(d.left) > 0 {
		return Message{}, fmt.Errorf("reading message: %w: wrong lengths", ErrCorrupt)
	}
	return m, nil
}

// decoder reads fields one after the other. After the first that is not there it
// has failed.
type decoder struct {
	left   []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.left)
	if n <= 0 {
		d.failed, d.left = true, nil
		return 0
	}
	d.left = d.left[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.left)
	if n <= 0 {
		d.failed, d.left = true, nil
		return 0
	}
	d.left = d.left[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.left)) {
		d.failed, d.left = true, nil
		return nil
	}
	field := append([]byte(nil), d.left[:n]...)
	d.left = d.left[n:]
	return field
}
