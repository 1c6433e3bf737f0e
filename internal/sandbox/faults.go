package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/journal"
	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox/webhooks"
	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// What a fault can answer. Each is one of a kind that HubSpot, or the edge in
// front of it, has been seen to give.
const (
	answerInvalidClient = "invalid_client" // token: 400 BAD_CLIENT_SECRET
	answerInvalidGrant  = "invalid_grant"  // token: 400 BAD_REFRESH_TOKEN
	answerRateLimited   = "rate_limited"   // both: 429
	answerServerError   = "server_error"   // both: 500 or the given status, JSON
	answerGateway       = "gateway_error"  // both: 502 or the given status, HTML
	answerLocked        = "locked"         // both: 423
	answerMigration     = "migration"      // both: 477
	answerEmpty         = "empty"          // token: 200 without a body, after processing
	answerBrokenJSON    = "broken_json"    // token: half the JSON, after processing
	answerUnauthorized  = "unauthorized"   // api: 401
	answerCutBody       = "cut_body"       // api: half the body, then the connection breaks, after processing
)

// When a fault drops the connection without an answer.
const (
	dropBefore = "before" // before the request is processed
	dropAfter  = "after"  // after it: the effect is there, the answer is lost
)

// The endpoints that a [TokenRule] can be for.
const (
	endpointToken  = "token"
	endpointRevoke = "revoke"
)

// TokenRule is a fault of the token endpoint, or of the one at which refresh
// tokens are revoked.
type TokenRule struct {
	// Endpoint is token, the default, or revoke.
	Endpoint string `json:"endpoint,omitempty"`
	// GrantType, ClientID and HubID narrow the rule; empty matches all.
	// HubID is that of the refresh token in the request.
	GrantType string `json:"grant_type,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	HubID     int64  `json:"hub_id,omitempty"`
	Rule
}

// APIRule is a fault of authenticated API calls.
type APIRule struct {
	// HubID, ClientID, Method and PathPrefix narrow the rule.
	HubID      int64  `json:"hub_id,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
	Method     string `json:"method,omitempty"`
	PathPrefix string `json:"path_prefix,omitempty"`
	// Policy is that of rate_limited: TEN_SECONDLY_ROLLING (the default),
	// SECONDLY, DAILY, or SEARCH for the shape without policyName.
	Policy string `json:"policy,omitempty"`
	// Category is that of unauthorized: EXPIRED_AUTHENTICATION (the
	// default) or INVALID_AUTHENTICATION.
	Category string `json:"category,omitempty"`
	Rule
}

// Rule is what both kinds of fault have in common.
type Rule struct {
	// Answer is what to answer instead of the real thing. Empty: the real
	// answer, late or dropped.
	Answer string `json:"answer,omitempty"`
	// Status replaces the status of server_error and gateway_error.
	Status int `json:"status,omitempty"`
	// RetryAfter, in seconds, adds a Retry-After header.
	RetryAfter int `json:"retry_after,omitempty"`
	// Delay is how long to wait before anything else, such as "1.5s".
	Delay string `json:"delay,omitempty"`
	// Drop closes the connection without an answer: before or after the
	// request is processed.
	Drop string `json:"drop,omitempty"`
	// Times is how many requests the rule still applies to. Zero: all,
	// until the faults are cleared.
	Times int `json:"times,omitempty"`

	delay time.Duration
}

// FaultRequest is the body of POST /_sandbox/faults. Fields that are there
// take effect, the others leave things as they are; unknown ones are errors.
type FaultRequest struct {
	// TokenLifetime is the lifetime of access tokens issued from now on, at
	// least a second, such as "90s".
	TokenLifetime *string `json:"token_lifetime"`
	// RotateRefreshTokens makes every refresh return a new refresh token
	// and kill the old one.
	RotateRefreshTokens *bool `json:"rotate_refresh_tokens"`
	// RevokeOnReuse revokes the grant when a refresh token that rotation
	// has replaced is used again.
	RevokeOnReuse *bool `json:"revoke_on_reuse"`
	// ExpireAccessTokens expires the matching grants' access tokens, now.
	ExpireAccessTokens *Selector `json:"expire_access_tokens"`
	// Revoke kills the refresh tokens of the matching grants.
	Revoke *Selector `json:"revoke"`
	// Uninstall removes the matching apps, as users do in HubSpot; their
	// access tokens stop working too.
	Uninstall *Selector `json:"uninstall"`
	// RevokeStaticTokens ends the matching portals' static tokens, as HubSpot
	// does when one is rotated or deleted there.
	RevokeStaticTokens *Selector `json:"revoke_static_tokens"`
	// DeletePortal makes an account disappear (BAD_HUB), RestorePortal
	// brings it back.
	DeletePortal  *int64 `json:"delete_portal"`
	RestorePortal *int64 `json:"restore_portal"`
	// Webhooks has something go wrong with the webhooks to come.
	Webhooks *webhooks.Fault `json:"webhooks"`
	// Journal does something to the webhooks journals of all apps. For one
	// that is away there is API, with path_prefix /webhooks-journal.
	Journal *journal.Fault `json:"journal"`
	// ClientSecrets ends one of an app's two client secrets, or revives it.
	ClientSecrets *SecretRule `json:"client_secrets"`
	// Token and API add a rule. Rules apply in the order in which they were
	// added, the first that matches a request wins.
	Token *TokenRule `json:"token"`
	API   *APIRule   `json:"api"`

	lifetime time.Duration
}

// FaultState is the answer of /_sandbox/faults: what is in force.
type FaultState struct {
	TokenLifetime       string      `json:"token_lifetime"`
	RotateRefreshTokens bool        `json:"rotate_refresh_tokens"`
	RevokeOnReuse       bool        `json:"revoke_on_reuse"`
	DeletedPortals      []int64     `json:"deleted_portals"`
	Token               []TokenRule `json:"token"`
	API                 []APIRule   `json:"api"`
	// ClientSecrets are the valid secrets of the apps for which a fault said
	// so, by client id.
	ClientSecrets map[string]string `json:"client_secrets,omitempty"`
	// Affected is how many access tokens, or grants, the request changed.
	Affected *Affected `json:"affected,omitempty"`
}

// Affected says what a request to /_sandbox/faults did at once.
type Affected struct {
	AccessTokens int `json:"access_tokens"`
	Grants       int `json:"grants"`
}

// faults are the rules in force.
type faults struct {
	mu    sync.Mutex
	token []*TokenRule
	api   []*APIRule
	// ended are client secrets that are not valid any more, by client id.
	ended map[string]secret.Text
}

func (f *faults) add(token *TokenRule, api *APIRule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token != nil {
		f.token = append(f.token, token)
	}
	if api != nil {
		f.api = append(f.api, api)
	}
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token, f.api, f.ended = nil, nil, nil
}

func (f *faults) rules() ([]TokenRule, []APIRule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	token, api := make([]TokenRule, len(f.token)), make([]APIRule, len(f.api))
	for i, rule := range f.token {
		token[i] = *rule
	}
	for i, rule := range f.api {
		api[i] = *rule
	}
	return token, api
}

// take returns the first of f's rules that matches and counts it off. How many
// uses are left of it is for the lock's holder only.
func take[R interface{ lastUse() bool }](f *faults, rules *[]R, matches func(R) bool) (rule R, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(*rules, matches)
	if i < 0 {
		return rule, false
	}
	rule = (*rules)[i]
	if rule.lastUse() {
		*rules = slices.Delete(*rules, i, i+1)
	}
	return rule, true
}

// lastUse counts a use off and reports whether it was the last one.
func (r *Rule) lastUse() bool {
	if r.Times == 0 {
		return false
	}
	r.Times--
	return r.Times == 0
}

// check refuses rules that could never do anything or not what was meant.
func (r *Rule) check(answers ...string) error {
	if r.Answer == "" && r.Delay == "" && r.Drop == "" {
		return errors.New("say what is to happen: answer, delay or drop")
	}
	if r.Answer != "" && !slices.Contains(answers, r.Answer) {
		return fmt.Errorf("answer: %q is not one of %s", r.Answer, strings.Join(answers, ", "))
	}
	if r.Drop != "" && r.Drop != dropBefore && r.Drop != dropAfter {
		return fmt.Errorf("drop: %q is neither before nor after", r.Drop)
	}
	if r.Answer != "" && r.Drop != "" {
		return errors.New("drop: a dropped request has no answer; leave one of the two out")
	}
	if r.Status != 0 && r.Answer != answerServerError && r.Answer != answerGateway {
		return errors.New("status: only server_error and gateway_error take one")
	}
	if r.Status != 0 && (r.Status < 500 || r.Status > 599) {
		return fmt.Errorf("status: %d is not between 500 and 599", r.Status)
	}
	if r.Times < 0 || r.RetryAfter < 0 {
		return errors.New("times and retry_after: must not be negative")
	}
	return r.parseDelay()
}

func (r *Rule) parseDelay() error {
	if r.Delay == "" {
		return nil
	}
	delay, err := time.ParseDuration(r.Delay)
	if err != nil || delay <= 0 {
		return fmt.Errorf("delay: %q is not a positive duration such as 1.5s", r.Delay)
	}
	r.delay = delay
	return nil
}

func (r *TokenRule) validate() error {
	if err := r.check(answerInvalidClient, answerInvalidGrant, answerRateLimited, answerServerError,
		answerGateway, answerLocked, answerMigration, answerEmpty, answerBrokenJSON); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	switch {
	case r.Endpoint != "" && r.Endpoint != endpointToken && r.Endpoint != endpointRevoke:
		return fmt.Errorf("token: endpoint: %q is neither token nor revoke", r.Endpoint)
	case r.Endpoint == endpointRevoke && r.GrantType != "":
		return errors.New("token: grant_type: a revocation has none")
	case r.Endpoint == endpointRevoke && r.Answer == answerBrokenJSON:
		return errors.New("token: answer: that of a revocation is empty and cannot be broken")
	}
	return nil
}

func (r *APIRule) validate() error {
	if err := r.check(answerRateLimited, answerServerError, answerGateway, answerLocked,
		answerMigration, answerUnauthorized, answerCutBody); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	policies := []string{policyRolling, policySecondly, policyDaily, policySearch}
	if r.Policy != "" && (r.Answer != answerRateLimited || !slices.Contains(policies, r.Policy)) {
		return fmt.Errorf("api: policy: goes with the answer rate_limited and is one of %s", strings.Join(policies, ", "))
	}
	categories := []string{"EXPIRED_AUTHENTICATION", "INVALID_AUTHENTICATION"}
	if r.Category != "" && (r.Answer != answerUnauthorized || !slices.Contains(categories, r.Category)) {
		return fmt.Errorf("api: category: goes with the answer unauthorized and is one of %s", strings.Join(categories, ", "))
	}
	return nil
}

// decodeFaults reads a FaultRequest, refusing what it does not know.
func decodeFaults(r *http.Request) (FaultRequest, error) {
	var req FaultRequest
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return req, fmt.Errorf("reading the fault: %w", err)
	}
	if dec.More() {
		return req, errors.New("reading the fault: one JSON object, please")
	}
	if req.TokenLifetime != nil {
		lifetime, err := time.ParseDuration(*req.TokenLifetime)
		if err != nil || lifetime < time.Second {
			return req, fmt.Errorf("token_lifetime: %q is not a duration of at least 1s", *req.TokenLifetime)
		}
		req.lifetime = lifetime
	}
	if req.ClientSecrets != nil {
		if err := req.ClientSecrets.validate(); err != nil {
			return req, err
		}
	}
	if req.Token != nil {
		if err := req.Token.validate(); err != nil {
			return req, err
		}
	}
	if req.API != nil {
		return req, req.API.validate()
	}
	return req, nil
}
