package webhookqueue_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

var samples = []webhookqueue.Message{
	{ReceivedAt: time.UnixMilli(0)},
	{
		ID: "0199", App: "hbdev", Portal: 62515, Lane: "62515/contact/1", ReceivedAt: time.UnixMilli(1_793_000_000_123),
		Events: []webhookqueue.Event{{JSON: []byte(`{ "eventId" : 1, "name":"<é>" }`)}, {JSON: []byte(`3`)}},
	},
	{ID: "a", App: "b", Portal: -1, ReceivedAt: time.UnixMilli(-5), Body: []byte("\x00no JSON\xff"), ContentType: "text/plain"},
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, m := range samples {
		got, err := webhookqueue.Decode(m.Encode())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("Decode(Encode) = %+v, %v; want %+v", got, err, m)
		}
	}
}

// Any cut and any changed byte is recognised.
func TestDamageIsRecognised(t *testing.T) {
	t.Parallel()
	b := samples[1].Encode()
	for i := range b {
		if _, err := webhookqueue.Decode(b[:i]); !errors.Is(err, webhookqueue.ErrCorrupt) {
			t.Errorf("Decode of the first %d of %d bytes: error = %v; want ErrCorrupt", i, len(b), err)
		}
		damaged := append([]byte(nil), b...)
		damaged[i] ^= 0x40
		if _, err := webhookqueue.Decode(damaged); !errors.Is(err, webhookqueue.ErrCorrupt) {
			t.Errorf("Decode with byte %d changed: error = %v; want ErrCorrupt", i, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples {
		f.Add(m.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := webhookqueue.Decode(b)
		if err != nil {
			return
		}
		if again, err := webhookqueue.Decode(m.Encode()); err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("a message that was read is not written the same: %+v, %+v, %v", m, again, err)
		}
	})
}

func TestWithout(t *testing.T) {
	t.Parallel()
	one, two := webhookqueue.Key{1}, webhookqueue.Key{2}
	m := webhookqueue.Message{Events: []webhookqueue.Event{{Key: one}, {Key: two}, {}}}
	left, ok := m.Without(func(k webhookqueue.Key) bool { return k == one })
	if !ok || len(left.Events) != 2 || left.Events[0].Key != two {
		t.Errorf("Without(one) = %+v, %t; want the other two", left.Events, ok)
	}
	all := func(webhookqueue.Key) bool { return true }
	if left, ok := m.Without(all); !ok || len(left.Events) != 1 {
		t.Errorf("Without(all) = %+v, %t; want the event without a key", left.Events, ok)
	}
	if _, ok := (webhookqueue.Message{Events: m.Events[:2]}).Without(all); ok {
		t.Error("a message of which nothing is left is to be delivered")
	}
	if _, ok := (webhookqueue.Message{}).Without(all); !ok {
		t.Error("an empty body is not to be delivered")
	}
}
