// Package jwtauth verifies the JWTs (RFC 7519) with which workloads say who
// they are: Kubernetes service accounts, SPIFFE JWT-SVIDs, and those of any
// other issuer that signs with a public key.
//
// A [KeySet] holds the public keys of one issuer (a JWK set, RFC 7517), from a
// file or from an HTTP address, and keeps them fresh. A [Verifier] has the key
// set of each issuer and checks a token's signature, issuer and times; whose
// the token is, by its subject and audience, is for others to say.
//
// It follows RFC 8725: the algorithms are fixed, asymmetric, and go with the
// type of the key; keys that a token names or brings along are not regarded.
package jwtauth
