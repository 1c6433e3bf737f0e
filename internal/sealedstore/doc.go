// Package sealedstore keeps connections in any storage of files by name, such
// as the one Caddy has for certificates, each record sealed with a key that
// the storage never sees. It implements [connection.Store] and
// [connection.DocumentStore].
//
// Who can read the storage learns how many connections an app has and when
// each changes, nothing else: names are keyed hashes. Who can write it can
// destroy records, and can put back an older copy of a record. Such a copy
// opens, because it was sealed with the right key, and brings back the tokens
// and the status of its day; sealing cannot tell. What it cannot do is move a
// record to another name, mix two records, or make one. Where that is not
// enough, keep connections in Vault. The same goes for documents, such as the
// list of freezes: deleting its file lifts them.
//
// Two writers of one record are kept apart by the storage's lock. A storage
// whose locks go stale when their holder stops for a while keeps them apart only
// as well as that.
package sealedstore
