package webhook

import (
	"net/http"
	"strings"
)

// HeaderVerified tells the app behind that a request was checked, and how.
const HeaderVerified = "X-HubSpot-Verified"

// RemoveVerified removes the header that only the sidecar may set, also in the
// spellings that some servers take for the same: in any case, and with
// underscores.
func RemoveVerified(r *http.Request) {
	for _, fields := range []http.Header{r.Header, r.Trailer} {
		for name := range fields {
			if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), HeaderVerified) {
				delete(fields, name)
			}
		}
	}
}
