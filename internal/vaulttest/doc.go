// Package vaulttest starts real Vault nodes for tests. It is imported by
// tests only.
//
// A vault binary on PATH is used where there is one. Otherwise the node in
// the nested module internal/vaulttest/server is built from Vault's Go module
// and kept in the user's cache directory: minutes the first time, nothing
// afterwards. Without either, tests fail; they are never skipped.
//
// A node has integrated storage, an HTTP and an HTTPS listener on free ports
// of the loopback interface, and a file audit device. It ends with the test
// process at the latest, however that ends. It needs a POSIX shell.
package vaulttest
