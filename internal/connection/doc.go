// Package connection is the domain of the program: a [Record] is one
// customer's grant of one HubSpot app, a [Store] keeps records, and a
// [Manager] hands out valid access tokens, refreshes them once across all
// processes, and knows when a grant is dead.
//
// Where what is:
//
//	record.go store.go document.go ledger.go sheet.go   what is stored, and where
//	manager.go cache.go known.go recent.go list.go      what a process knows
//	token.go inflight.go heldback.go                    an access token for a caller
//	refresh.go claim.go adopt.go pending.go force.go    a refresh, once across processes
//	schedule.go turn.go budget.go pause.go backoff.go   when it is its turn
//	alarm.go trouble.go fallback.go events.go           what is wrong, and who is told
//	install.go import.go export.go static.go portal.go  connections that begin
//	disconnect.go receipt.go uninstall.go               connections that end
//	holders.go index.go rotation.go portals.go          who else stands on a grant or portal
//	board.go follow.go                                  what other processes have done
//	apptoken.go                                         tokens of the app itself
package connection
