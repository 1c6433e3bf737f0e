// Package webhook takes in what HubSpot sends to an app: it checks that HubSpot
// has signed it, just now and once, and takes its events apart for a queue. It
// knows net/http only; what becomes of a queue's messages is in package
// webhookdelivery.
package webhook
