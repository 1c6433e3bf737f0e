// Package connection is the domain of the program: a [Record] is one
// customer's grant of one HubSpot app, a [Store] keeps records, and a
// [Manager] hands out valid access tokens, refreshes them once across all
// processes, and knows when a grant is dead.
package connection
