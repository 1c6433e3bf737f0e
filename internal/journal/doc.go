// Package journal reads HubSpot's webhooks journal for an app, to learn of
// uninstalls without waiting for a refresh to fail. All sidecars of a store
// look at one document in it: one of them, by a claim that the document holds,
// reads the journal and writes down which portals have uninstalled the app; each
// of them ends the connections that it has in memory, and the reader those that
// nobody has.
//
//	watcher.go    one app at one sidecar: looks at the document, claims it
//	reader.go     the turn of the one who holds the claim
//	document.go   what is stored
//	client.go     the journal's endpoints at HubSpot      link.go, event.go
//	mark.go       what an uninstall does to connections
//
// A file of the journal is taken as read when what it tells stands in the
// document, by the same write that moves the offset; it stays there until it was
// done. So a process may end at any time.
package journal
