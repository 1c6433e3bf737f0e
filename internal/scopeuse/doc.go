// Package scopeuse learns which scopes an app needs, from what its calls meet:
// a refusal of HubSpot's names the scopes that an endpoint needs, and a call that
// HubSpot serves shows that they are in use. All sidecars of a store share what
// they have learnt in one of its documents, and what they know of it can be
// merged in any order: times of a beginning are the earliest, other times the
// latest, and sets are united. Of a set that is too large the newest stay.
//
// Endpoints are methods and templates of paths, as in the audit log, and
// connections are tags: no user, and no id of a record, is in it.
//
//	knowledge.go   what is known of an app, and how it is merged and bounded
//	document.go    the document
//	app.go         what calls teach
//	keeper.go      what brings memory and document together
//	table.go       what operators are shown
package scopeuse
