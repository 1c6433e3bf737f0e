// Package chaos is a test of the whole: several caddy processes, a Vault with
// integrated storage and two sandboxes in HubSpot's place, one of which
// rotates its refresh tokens. Programs call for many users through all
// processes while a seeded script kills, stops, restarts and reloads the
// processes, takes Vault away and breaks the token endpoint.
//
// Everything that the processes say to HubSpot and to Vault passes through
// the test, which writes it down and judges afterwards: whether a connection
// was lost, which refreshes were one too many and why, and whether a request
// failed that a valid token could have served. It prints a table; what has no
// known cause fails the test.
//
//	go test ./internal/chaos -v                                 # the short form
//	go test ./internal/chaos -v -timeout 1h -chaos.for 5m -chaos.seed 7
//
// The seed decides which faults come when; what they meet differs from run
// to run. docs/reliability.md says what is promised and what was measured.
//
// Two other tests here use real processes too, without any faults: TestGoodput
// shows how much of one portal's quota several of them use, and
// TestFreezeReachesOtherProcesses that what one freezes the others obey.
//
//	go test ./internal/chaos -v -run TestGoodput -goodput
package chaos
