package adminapi

import (
	"net/url"
	"strconv"
	"time"
)

// Quota is the path of the endpoint that shows and resets quotas; see
// [QuotaPath].
const Quota = "/hubspot/quota"

// QuotaPath is the path of an app's quotas, or of those of one portal; portal 0
// is all.
func QuotaPath(app string, portal int64) string {
	path := Quota + "/" + url.PathEscape(app)
	if portal != 0 {
		path += "/" + strconv.FormatInt(portal, 10)
	}
	return path
}

// QuotaList is the answer of [Quota]: of each portal that was used lately, the
// quotas that requests counted for.
type QuotaList struct {
	App    string        `json:"app"`
	Quotas []PortalQuota `json:"quotas"`
}

// PortalQuota is one quota of a portal.
type PortalQuota struct {
	HubID int64 `json:"hubId"`
	// Quota is burst or search.
	Quota string `json:"quota"`
	// Limit requests may be sent in the window: what the settings say, or
	// less where HubSpot or others leave less.
	Limit         int     `json:"limit"`
	WindowSeconds float64 `json:"windowSeconds"`
	// Used of them are, by this process; Left ones can be sent now.
	Used int `json:"used"`
	Left int `json:"left"`
	// Waiting requests have found no place yet.
	Waiting int `json:"waiting"`
	// Shared is set while others use the portal's quota as well.
	Shared bool `json:"shared"`
	// ClosedUntil is until when nothing is sent, and ClosedBecause why; they
	// are not there while it is open.
	ClosedUntil   time.Time `json:"closedUntil,omitzero"`
	ClosedBecause string    `json:"closedBecause,omitempty"`
}
