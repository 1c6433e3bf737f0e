// Package sandbox is a fake HubSpot that is faithful enough to build an
// integration against and to break it on purpose: an [http.Handler] for the
// root of a site, with apps, accounts (portals), grants, tokens, quotas and
// made-up CRM data, all in memory.
//
//	s, err := sandbox.New(sandbox.Options{})
//	if err != nil { … }
//	srv := httptest.NewServer(s) // or http.ListenAndServe("127.0.0.1:4000", s)
//
// With no options it knows one app, [DemoClientID] with [DemoClientSecret],
// and two portals, [DemoHubID] and [DemoLimitedHubID]. It answers loopback
// addresses and unix sockets only, and Host headers that name them; it has no
// passwords. The curl examples below take it to be at $B, say
// http://localhost:4000, and $C to be that site with
// /crm/objects/2026-09.
//
// # Installing an app
//
// GET /oauth/authorize and /oauth/{hubId}/authorize show HubSpot's consent
// step: client_id, redirect_uri, scope, optional_scope, state and PKCE
// (code_challenge with S256). Wrong URLs get HubSpot's wording on the page and
// no redirect; cancelling tells the app nothing. Scripts add a parameter:
//
//	_sandbox_approve=62515001     consent in that portal at once: 302 to the app
//	_sandbox_optional="a b"       with it: grant only these optional scopes
//	_sandbox_person=4711          with it: as that person of the account, for user-level apps
//	_sandbox_deny=access_denied   302 to the app with that error
//
// For example:
//
//	curl -si -G $B/oauth/authorize -d client_id=5a4db0c5-0000-4000-8000-00000000de70 \
//	  -d redirect_uri=http://localhost:3000/callback \
//	  --data-urlencode 'scope=oauth crm.objects.contacts.read' \
//	  -d state=xyz -d _sandbox_approve=62515001
//
// # Tokens
//
// POST /oauth/{version}/token, …/token/introspect and …/token/revoke, where
// version is 2026-09, 2026-03 or v3: form parameters in the body, the client
// authenticated by client_id and client_secret there. Errors are 400 with
// error, error_description, status (BAD_REFRESH_TOKEN and so on) and message.
// A refresh token does not change, and two connections of one app in one
// portal get the same one. Revoking it leaves access tokens alive; removing
// the app (DELETE /appinstalls/{version}/external-install) does not. The
// endpoints of /oauth/v1 answer as well and are counted apart: HubSpot
// switches them off on 2027-02-16.
//
//	curl -s $B/oauth/2026-09/token -d grant_type=authorization_code -d code=… \
//	  -d redirect_uri=http://localhost:3000/callback \
//	  -d client_id=5a4db0c5-0000-4000-8000-00000000de70 \
//	  -d client_secret=sandbox-client-secret-of-no-value
//
// # The webhooks journal
//
// A token of the app itself (grant_type=client_credentials, with scopes of
// developer.webhooks_journal.*) opens /webhooks-journal/{journal|journal-local}
// /{version}: earliest, latest, offset/{offset}/next, and batch/… with a count,
// as well as batch/read. Single reads answer 204 at the end. Installs and
// uninstalls are its events, for apps that have subscribed to them at
// /webhooks-journal/subscriptions/{version}: one file each, behind a link that
// works for five minutes and takes no token. Files go after three days, and
// with a restart; offsets from before are 404.
//
// # Data
//
// /crm/objects/{2026-09|2026-03}/{contacts|companies|deals}, and the same
// under /crm/v3/objects: list (limit, after, properties, archived), get
// (idProperty), create, update (PATCH), archive (DELETE), batch/read, create,
// update, upsert and archive, and search. GET
// /account-info/{version}/details describes the portal. Scopes, quotas (110
// calls in 10 s by app and portal, 5 searches a second by portal), their
// headers, and the error bodies are HubSpot's.
//
//	curl -s "$C/contacts?limit=3&properties=email,phone" -H "Authorization: Bearer $TOKEN"
//	curl -s $C/contacts/search -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
//	  -d '{"filterGroups":[{"filters":[{"propertyName":"city","operator":"EQ","value":"Cork"}]}]}'
//
// # Webhooks
//
// POST /_sandbox/webhooks says where an app, or every app, is told of what is
// created, changed and archived in the portals it is installed in; GET shows that,
// and counts. Requests have up to 100 events, HubSpot's headers and signature, and
// come again, eleven times in all, within minutes where HubSpot takes a day. The
// changeSource is INTEGRATION, with the app's number as sourceId, unless a request
// to the CRM says another in the header X-Sandbox-Change-Source, such as CRM_UI for
// a person.
//
//	curl -s $B/_sandbox/webhooks -d '{"target_url":"http://localhost:8080/hubspot/webhooks"}'
//
// # Breaking it
//
// POST /_sandbox/faults takes a JSON object ([FaultRequest]), GET shows what
// is in force ([FaultState]), DELETE ends all of it. Effects that last:
//
//	curl -s $B/_sandbox/faults -d '{"token_lifetime":"60s"}'
//	curl -s $B/_sandbox/faults -d '{"rotate_refresh_tokens":true,"revoke_on_reuse":true}'
//	curl -s $B/_sandbox/faults -d '{"client_secrets":{"valid":"client_secret_next"}}'  # the first one has ended
//	curl -s $B/_sandbox/faults -d '{"delete_portal":62515001}'     # then BAD_HUB; restore_portal undoes it
//
// Effects that happen at once, on the grants that a [Selector] picks:
//
//	curl -s $B/_sandbox/faults -d '{"expire_access_tokens":{}}'
//	curl -s $B/_sandbox/faults -d '{"revoke":{"hub_id":62515001}}'
//	curl -s $B/_sandbox/faults -d '{"uninstall":{"grant":"g_…"}}'
//	curl -s $B/_sandbox/faults -d '{"revoke_static_tokens":{"hub_id":62515001}}'
//
// Faults of the webhooks to come, for the next times requests or until they are
// cleared:
//
//	curl -s $B/_sandbox/faults -d '{"webhooks":{"duplicate":true,"times":1}}'
//	curl -s $B/_sandbox/faults -d '{"webhooks":{"late":true}}'              # signed six minutes ago
//	curl -s $B/_sandbox/faults -d '{"webhooks":{"wrong_signature":true}}'
//
// Rules for the token endpoint ([TokenRule]) and for API calls ([APIRule]),
// for the next times requests or until they are cleared:
//
//	curl -s $B/_sandbox/faults -d '{"api":{"path_prefix":"/webhooks-journal","answer":"server_error"}}'
//	curl -s $B/_sandbox/faults -d '{"journal":{"lose":true}}'         # as after three days
//	curl -s $B/_sandbox/faults -d '{"journal":{"files_away":true}}'
//	curl -s $B/_sandbox/faults -d '{"token":{"delay":"2s"}}'
//	curl -s $B/_sandbox/faults -d '{"token":{"drop":"after","times":1}}'       # processed, answer lost
//	curl -s $B/_sandbox/faults -d '{"token":{"answer":"rate_limited","retry_after":3,"times":2}}'
//	curl -s $B/_sandbox/faults -d '{"token":{"endpoint":"revoke","answer":"server_error","times":2}}'
//	curl -s $B/_sandbox/faults -d '{"api":{"answer":"gateway_error","method":"DELETE","path_prefix":"/appinstalls/"}}'
//	curl -s $B/_sandbox/faults -d '{"api":{"answer":"rate_limited","policy":"DAILY"}}'
//	curl -s $B/_sandbox/faults -d '{"api":{"answer":"unauthorized","times":1}}'
//	curl -s $B/_sandbox/faults -d '{"api":{"answer":"cut_body","path_prefix":"/crm/"}}'
//
// Answers of token rules: invalid_client, invalid_grant, rate_limited,
// server_error, gateway_error, locked, migration, and, after the request has
// been processed, empty and broken_json. Answers of API rules: rate_limited,
// unauthorized, server_error, gateway_error, locked, migration, cut_body.
//
// # Static tokens
//
// POST /_sandbox/static-tokens ([StaticTokenRequest]) makes a token as an app
// with static auth has one, or a service key: it works until a fault ends it.
//
//	curl -s $B/_sandbox/static-tokens -d '{"hub_id":62515001}'
//
// # Looking
//
// GET /_sandbox/stats ([Stats]) counts requests by endpoint and status,
// revocations and refreshes by grant and how many of them ran at the same time, API calls by
// portal, calls beyond the quota, and uses of /oauth/v1. POST /_sandbox/reset
// puts everything back to the start. Any request to /_sandbox/echo/… is
// answered with what arrived ([Echo]).
//
//	curl -s $B/_sandbox/stats
//	curl -s -X POST $B/_sandbox/reset
//
// # What is not HubSpot's
//
// Tokens and codes are random and die with the process; with
// [Options.StateFile], installs and their refresh tokens do not. The consent
// step has no sign-in. Search sees changes at once. Associations, property history,
// pipelines and owners are missing; parameters about them are
// ignored. Where HubSpot documents nothing (the exact "error" of some OAuth
// errors, the life of an authorization code, what an access token is worth
// after an uninstall), the sandbox does what RFC 6749 or caution suggests, and
// no program should depend on it.
package sandbox
