//go:build !unix || solaris || aix

package filelock

import "context"

// Lock does nothing: this system has no locks that end with the process.
func Lock(string) (unlock func(), err error) { return func() {}, nil }

// Ends says that locks end with the process that has them.
const Ends = false

// Hold does nothing, as Lock.
func Hold(context.Context, string) (release func(), err error) { return func() {}, nil }
