package install

// What the tests of whole installs have to know.
const (
	MaxFlows         = maxFlows
	MaxQuery         = maxQuery
	MaxQuote         = maxQuote
	FlowCookiePrefix = flowCookiePrefix
)

// BrowserHash is the hash of a binding cookie.
func BrowserHash(value string) string { return browserHash(value) }
