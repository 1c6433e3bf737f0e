package journal

// DocumentName is the name of an app's document.
func DocumentName(app string) string { return nameOf(app) }
