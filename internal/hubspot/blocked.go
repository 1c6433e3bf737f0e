package hubspot

// TokenEndpoints are the endpoints that hand out tokens or take them in. Whoever
// reached them could keep a token that outlives its caller's key, or act with a
// grant that the sidecar does not know. Root is the beginning of their paths, in
// whole segments, and Below, if it is not empty, a segment somewhere after it.
// All are in lower case.
//
//   - /oauth: the token, introspection and revocation endpoints of every
//     version, the v1 access-tokens and refresh-tokens resources, and
//     /oauth/v2/private-apps/get/access-token-info, which the relay answers
//     itself.
//   - /localdevauth: exchanges a personal access key for an access token, and
//     makes private-app user tokens (HubSpot/hubspot-local-dev-lib,
//     api/localDevAuth.ts and api/privateAppUserToken.ts).
//   - SMTP API tokens, whose password sends mail as the customer until somebody
//     deletes it: /email/public/v1/smtpapi/tokens,
//     /marketing/v3/transactional/smtp-tokens and
//     /marketing/transactional/2026-09/smtp-tokens
//     (https://developers.hubspot.com/docs/api-reference/marketing-transactional-single-send-v3/guide).
var TokenEndpoints = [...]struct{ Root, Below string }{
	{Root: "/oauth"},
	{Root: "/localdevauth"},
	{Root: "/email", Below: "/smtpapi"},
	{Root: "/marketing", Below: "/smtp-tokens"},
}
