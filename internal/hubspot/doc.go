// Package hubspot speaks HubSpot's OAuth protocol: the link that asks a user
// to install an app, the date-versioned token and revoke endpoints, and what
// each of their refusals means.
//
// It keeps no tokens and decides nothing about connections: see package
// connection for that.
package hubspot
