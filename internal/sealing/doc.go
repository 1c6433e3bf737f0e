// Package sealing seals small texts with keys derived from the client secrets
// of a HubSpot app, so that any process that knows a secret can open what
// another sealed, and nobody else can read, change or make one. It serves the
// state of installs (package oauthstate) and user tokens (package usertoken).
//
// A [Use] keeps texts of different purposes apart: each has a label, from
// which its keys are derived, and a magic number, so that a text sealed for
// one use is never opened for another, whatever its content.
package sealing
