package sandbox

import "net/http"

// accountDetails is GET /account-info/{version}/details.
func (w *world) accountDetails(c *call) reply {
	type details struct {
		PortalID              int64    `json:"portalId"`
		AccountType           string   `json:"accountType"`
		TimeZone              string   `json:"timeZone"`
		CompanyCurrency       string   `json:"companyCurrency"`
		AdditionalCurrencies  []string `json:"additionalCurrencies"`
		UTCOffset             string   `json:"utcOffset"`
		UTCOffsetMilliseconds int64    `json:"utcOffsetMilliseconds"`
		UIDomain              string   `json:"uiDomain"`
		DataHostingLocation   string   `json:"dataHostingLocation"`
	}
	ui := "app.hubspot.com"
	if c.portal.Hublet != "na1" {
		ui = "app-" + c.portal.Hublet + ".hubspot.com"
	}
	return jsonReply(http.StatusOK, details{
		PortalID: c.portal.HubID, AccountType: "DEVELOPER_TEST", TimeZone: "Etc/UTC",
		CompanyCurrency: "USD", AdditionalCurrencies: []string{}, UTCOffset: "+00:00",
		UIDomain: ui, DataHostingLocation: c.portal.Hublet,
	})
}
