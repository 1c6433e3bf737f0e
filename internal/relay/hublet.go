package relay

import (
	"encoding/json"
	"net/http"
	"regexp"
	"sync"

	"github.com/caddy-hubspot/caddy-hubspot/internal/hubspot"
)

// statusWrongHublet is HubSpot's own status for an account that is in another
// data centre (Hublet) than its token says. The body names the right one.
const statusWrongHublet = 488

// hubletName is the form of a Hublet's name. Nothing else is believed: the
// access token goes where it leads.
var hubletName = regexp.MustCompile(`^[a-z]{2}[0-9]{1,3}$`)

// rightHublet returns the Hublet that an answer sends the call to; ok is false
// for any other answer. The body of the answer is as it was afterwards.
func rightHublet(res *http.Response) (hublet string, ok bool) {
	if res == nil || res.StatusCode != statusWrongHublet {
		return "", false
	}
	text, _ := decodeContent(res.Header, holdBody(res))
	var answer struct {
		CorrectHublet string `json:"correctHublet"`
	}
	if json.Unmarshal(text, &answer) != nil || !hubletName.MatchString(answer.CorrectHublet) {
		return "", false
	}
	return answer.CorrectHublet, true
}

// hubletOrigin is where a Hublet has its API. Only HubSpot's own API has them;
// ok is false for another that the configuration names.
func hubletOrigin(api origin, hublet string) (regional origin, ok bool) {
	global, err := originOf(hubspot.DefaultAPI)
	if err != nil || api != global {
		return origin{}, false
	}
	if hublet == "na1" {
		return global, true
	}
	host := "api-" + hublet + ".hubapi.com"
	return origin{base: "https://" + host, scheme: "https", host: host}, true
}

// maxHublets bounds how many connections are remembered to be elsewhere.
const maxHublets = 10_000

// hublets remembers where the accounts of connections are, by user. The zero
// value is empty; it is safe for concurrent use.
type hublets struct {
	mu     sync.RWMutex
	byUser map[string]origin
}

func (h *hublets) of(user string) (origin, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	regional, ok := h.byUser[user]
	return regional, ok
}

// remember notes where a user's account is. When there are too many, all are
// forgotten: HubSpot tells again.
func (h *hublets) remember(user string, regional origin) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byUser == nil || len(h.byUser) >= maxHublets {
		h.byUser = make(map[string]origin)
	}
	h.byUser[user] = regional
}

// findHublet returns the Hublet that HubSpot's answer names, if the call was not
// sent there, and remembers it for the calls to come.
func (c *Call) findHublet(got try) (regional origin, found bool) {
	if c.relay.OneHost || c.followed || c.asApp {
		return origin{}, false
	}
	hublet, ok := rightHublet(got.res)
	if !ok {
		return origin{}, false
	}
	regional, ok = hubletOrigin(c.relay.api, hublet)
	if !ok || regional == c.api {
		return origin{}, false
	}
	c.relay.hublets.remember(c.user, regional)
	return regional, true
}
