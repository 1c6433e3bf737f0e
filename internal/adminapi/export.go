package adminapi

import "net/url"

// Export is where the connections of an app are exported; the app is behind it:
// see [ExportPath]. The answer is a file of age's.
const Export = "/hubspot/export"

// ExportPath is where the connections of an app are exported.
func ExportPath(app string) string { return Export + "/" + url.PathEscape(app) }
