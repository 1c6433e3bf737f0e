package webhook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/webhook"
	"github.com/caddy-hubspot/caddy-hubspot/internal/webhookqueue"
)

// created is an event as HubSpot writes it.
func created(portal, event, object, at, attempt int) string {
	return fmt.Sprintf(`{"eventId":%d,"subscriptionId":12345,"portalId":%d,"occurredAt":%d,"subscriptionType":"contact.creation",`+
		`"attemptNumber":%d,"objectId":%d,"changeSource":"CRM","changeFlag":"NEW","appId":54321}`, event, portal, at, attempt, object)
}

// outline says what messages there are: portal, lane and the number of events.
func outline(messages []webhookqueue.Message) string {
	var parts []string
	for _, m := range messages {
		parts = append(parts, fmt.Sprintf("%d/%s/%d", m.Portal, m.Lane, len(m.Events)))
	}
	return strings.Join(parts, " ")
}

func TestSplit(t *testing.T) {
	t.Parallel()
	mixed := "[" + strings.Join([]string{
		created(1, 1, 7, 1000, 0), created(2, 2, 7, 1000, 0), created(1, 3, 8, 1000, 0), `{"portalId":1}`,
	}, " , ") + "]"
	for _, tc := range []struct {
		split, order webhook.By
		body, want   string
	}{
		{webhook.ByNone, webhook.ByNone, mixed, "0//4"},
		{webhook.ByPortal, webhook.ByNone, mixed, "1//3 2//1"},
		{webhook.ByEvent, webhook.ByNone, mixed, "1//1 2//1 1//1 1//1"},
		{webhook.ByNone, webhook.ByPortal, mixed, "1/portal/3 2/portal/1"},
		{webhook.ByEvent, webhook.ByPortal, mixed, "1/portal/1 2/portal/1 1/portal/1 1/portal/1"},
		{webhook.ByPortal, webhook.ByObject, mixed, "1/portal/3 2/portal/1"},
		{webhook.ByEvent, webhook.ByObject, mixed, "1/object 7/1 2/object 7/1 1/object 8/1 1//1"},
		{webhook.ByNone, webhook.ByNone, "[" + created(5, 1, 1, 1, 0) + "]", "5//1"},
		{webhook.ByEvent, webhook.ByObject, `["a", 1, {"portalId":"x"}]`, "0//1 0//1 0//1"},
		{webhook.ByEvent, webhook.ByObject, `[{"portalId":1,"fromObjectId":4,"toObjectId":5}]`, "1/object 4/1"},
		{webhook.ByEvent, webhook.ByObject, "", "0//0"},
		{webhook.ByEvent, webhook.ByObject, "[]", "0//0"},
		{webhook.ByEvent, webhook.ByObject, `{"portalId":1}`, "0//0"},
		{webhook.ByEvent, webhook.ByObject, `[1] [2]`, "0//0"},
	} {
		s := webhook.Splitter{App: "hbdev", Split: tc.split, Order: tc.order}
		messages := s.Messages([]byte(tc.body), "text/x", time.Now())
		if got := outline(messages); got != tc.want {
			t.Errorf("split %d, order %d of %.30s…: %s; want %s", tc.split, tc.order, tc.body, got, tc.want)
		}
		ids := make(map[string]bool)
		for _, m := range messages {
			ids[m.ID] = true
		}
		if len(ids) != len(messages) {
			t.Error("messages share an ID")
		}
	}
}

// Events are delivered byte for byte as HubSpot wrote them, and what is no array
// of events as it came.
func TestBodiesAreKept(t *testing.T) {
	t.Parallel()
	s := webhook.Splitter{App: "hbdev", Split: webhook.ByPortal}
	for body, want := range map[string]string{
		"[ {\"portalId\":1, \"x\" : \"<&>\\u00e9\"} ,\n{\"portalId\":1,\"n\":1.10e3} ]": `[{"portalId":1, "x" : "<&>\u00e9"},{"portalId":1,"n":1.10e3}]`,
		"": "", "[]": "[]", "\x00\xff": "\x00\xff", `{"a": 1}`: `{"a": 1}`,
	} {
		messages := s.Messages([]byte(body), "text/x", time.Now())
		got, contentType := webhook.Body(messages[0])
		wantType := "text/x"
		if len(messages[0].Events) > 0 {
			wantType = "application/json"
		}
		if len(messages) != 1 || string(got) != want || contentType != wantType {
			t.Errorf("%q is delivered as %d messages, %q, %s; want %q, %s", body, len(messages), got, contentType, want, wantType)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	key := func(app, event string) webhookqueue.Key {
		return webhook.Splitter{App: app}.Messages([]byte("["+event+"]"), "", time.Now())[0].Events[0].Key
	}
	first := key("hbdev", created(1, 1, 7, 1564113600000, 0))
	if again := key("hbdev", created(1, 1, 7, 1564113600000, 3)); again != first || first == (webhookqueue.Key{}) {
		t.Error("HubSpot's second attempt has another key, or none")
	}
	others := map[string]webhookqueue.Key{
		"app":          key("other", created(1, 1, 7, 1564113600000, 0)),
		"portal":       key("hbdev", created(2, 1, 7, 1564113600000, 0)),
		"event":        key("hbdev", created(1, 2, 7, 1564113600000, 0)),
		"object":       key("hbdev", created(1, 1, 8, 1564113600000, 0)),
		"time":         key("hbdev", created(1, 1, 7, 1564113600001, 0)),
		"subscription": key("hbdev", strings.Replace(created(1, 1, 7, 1564113600000, 0), "12345", "12346", 1)),
	}
	for what, other := range others {
		if other == first {
			t.Errorf("an event of another %s has the same key", what)
		}
	}
	from := func(to int) string {
		return fmt.Sprintf(`{"eventId":1,"subscriptionId":1,"portalId":1,"occurredAt":1,"fromObjectId":1,"toObjectId":%d}`, to)
	}
	if key("a", from(1)) == key("a", from(2)) {
		t.Error("associations with two objects have the same key")
	}
	for _, event := range []string{`{}`, `1`, `{"eventId":1}`, `{"occurredAt":1}`} {
		if key("a", event) != (webhookqueue.Key{}) {
			t.Errorf("%s has a key", event)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("["+created(1, 1, 7, 1, 0)+"]"), 1, 2)
	f.Add([]byte(`[{"portalId":9223372036854775808}]`), 2, 3)
	f.Fuzz(func(t *testing.T, body []byte, split, order int) {
		s := webhook.Splitter{App: "a", Split: webhook.By(split), Order: webhook.By(order)}
		for _, m := range s.Messages(body, "", time.Now()) {
			if out, _ := webhook.Body(m); len(m.Events) == 0 && string(out) != string(body) {
				t.Errorf("%q is delivered as %q", body, out)
			}
		}
	})
}
