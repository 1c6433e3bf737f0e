package relay_test

import (
	"io"
	"slices"
	"testing"
)

// The portal in an answer is the one whose token was used, whatever else
// claims to be.
func TestPortalOfTheAnswerIsOurs(t *testing.T) {
	t.Parallel()
	upstream := newWireServer(t, func(w io.Writer, _ *wireMessage, more func() error) error {
		if err := more(); err != nil {
			return err
		}
		_, err := io.WriteString(w, jsonAnswer(200, "{}", "X-HubSpot-Portal: 1", "x-hubspot-portal: 2", "Proxy-Status: edge"))
		return err
	})
	h := startProxy(t, upstream.url())
	got := h.Get("/crm/x", "acme")
	if portals := got.Header.Values("X-HubSpot-Portal"); !slices.Equal(portals, []string{"4711"}) {
		t.Errorf("X-HubSpot-Portal %q", portals)
	}
	want := []string{"edge", `caddy-hubspot; received-status=200; details="tries=1"`}
	if statuses := got.Header.Values("Proxy-Status"); !slices.Equal(statuses, want) {
		t.Errorf("Proxy-Status %q, want %q", statuses, want)
	}
	// An error of our own names no portal.
	if portal := h.Get("/oauth/x", "acme").Header.Get("X-HubSpot-Portal"); portal != "" {
		t.Errorf("X-HubSpot-Portal %q", portal)
	}
}
