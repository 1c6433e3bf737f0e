// Package access decides who calls the sidecar and what the caller may do.
//
// A [Registry] holds the callers and finds the one that a key belongs to, or a
// client certificate, the claims of a JWT, or the user and group of a process,
// which others have to have verified. A [Caller] has a policy over four
// dimensions: app, user, method and path; [Caller.Narrow] makes one of a user
// token, which leaves a part of it. [Readings] lists the ways in which servers
// read one request path, so that a verdict can be refused where it depends on
// the reading. [Blocked] names the HubSpot endpoints that no caller reaches. A
// request is judged like this:
//
//	caller, err := registry.Authenticate(r.Header)
//	readings, err := access.Readings(path) // the escaped path that goes up
//	blocked, err := access.Judge(readings, access.Blocked)
//	err = caller.Check(app, user, r.Method, readings)
//
// Everything here is immutable once built and safe for concurrent use.
package access
