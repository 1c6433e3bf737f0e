// Package audit keeps a log of who used whose HubSpot account: a file of JSON
// lines, one per call, each bound to the one before it by a hash.
//
// # The chain
//
// A line has a number, seq, which grows by one; prev, the hash of the line
// before it; and at its end its own hash, the SHA-256 in lowercase hex of all
// bytes of the line before the comma in front of "hash". As prev is among
// them, a hash stands for its line and all before it. The first line of all
// has seq 1 and a prev of zeros. A file that begins with a later line goes on
// from another file, whatever that is called: prev and seq say so.
//
// [Verify] finds the first line that was changed, removed, inserted or moved.
// It cannot see that the end was cut off, or that everything from some line on
// was written anew by somebody who can write the file and knows how hashes are
// made. Therefore the head, the number and hash of the last line, goes to
// other places as well while the log is written (see [Log.Head] and
// [Options].Logger), and Verify looks for a head that it is given.
//
// # The end of a process
//
// Lines are written whole, but a crash can leave the last one torn. Nothing is
// cut away then: the next process leaves the torn bytes where they are and
// writes a line of the kind torn after them, with their number and their hash.
// So a torn line is one that a line of the chain speaks of, and is counted;
// bytes that cannot be read and that no line speaks of are a change. To tear
// the last line is worth no more than to cut it off, and shows, where cutting
// it off would not.
//
// # What is not in it
//
// A user is there as the tag that the sidecar's logs have, a path as its
// [Template], which holds words of HubSpot's API and nothing of a caller's.
package audit
