// Package storetest is the conformance suite of [connection.Store]. Every
// store of the program passes it, so that the Manager can rely on one
// behaviour.
package storetest

import (
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// Backing is one backing store, empty at first, as several processes see it.
type Backing struct {
	// Open returns a new handle of the backing store, as another process
	// would have. Required. It closes what it opens by t.Cleanup.
	Open func(t *testing.T) connection.Store

	// Holds reports whether text still stands in clear in any version of
	// key's record that can be read by somebody with full access to the
	// backing store and its keys. Nil means that the store keeps no
	// version but the newest.
	Holds func(t *testing.T, key connection.Key, text string) bool
}

// Run runs the suite. It calls fresh once per test, for a new backing store.
func Run(t *testing.T, fresh func(t *testing.T) Backing) {
	t.Helper()
	for _, tc := range []struct {
		name string
		test func(t *testing.T, b Backing)
	}{
		{"SaveAndLoad", testSaveAndLoad},
		{"VersionsCount", testVersionsCount},
		{"NotFound", testNotFound},
		{"Conflicts", testConflicts},
		{"OneWinnerPerVersion", testOneWinnerPerVersion},
		{"UnknownFieldsAreCarriedOver", testUnknownFields},
		{"RecordsAreValues", testRecordsAreValues},
		{"OddUsers", testOddUsers},
		{"KeysDoNotMeet", testKeysDoNotMeet},
		{"TwoHandles", testTwoHandles},
		{"Erase", testErase},
		{"EraseNothing", testEraseNothing},
		{"ListPages", testListPages},
		{"ListRefusesACursor", testListRefusesACursor},
		{"ListIsPerApp", testListIsPerApp},
		{"ListHasTombstones", testListHasTombstones},
		{"ID", testID},
		{"ContextEnds", testContextEnds},
		{"Ledger", testLedger},
		{"LedgerOneWinnerPerVersion", testLedgerWinner},
		{"LedgerArguments", testLedgerArguments},
		{"Mark", testMark},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, fresh(t)) })
	}
}
