package vaultstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/vault/api"
)

// mostReserve bounds the uses that are left to the old token when a new one
// is asked for: as many as may be wanted while that takes.
const mostReserve = 32

// errTooFewUses is a token whose role allows one request only, so that it
// cannot be asked about itself: Vault forgets a token at its last use.
var errTooFewUses = errors.New("the token is good for one request only")

// take hands the token out for one request, if it is valid and has more than
// spare uses left. Vault counts a request when it comes in, so what is under
// way counts as made (token_num_uses,
// https://developer.hashicorp.com/vault/docs/auth/approle). Before the uses
// are at their end the next token is asked for. The caller holds mu.
func (s *session) take(spare int) (grant, bool) {
	limited := s.lease.uses > 0
	if !s.valid() || limited && s.left <= spare {
		return grant{}, false
	}
	if limited {
		s.left--
		s.loginAhead()
	}
	return grant{s.lease.token, s.number}, true
}

// loginAhead starts a login when the uses run short. The caller holds mu.
func (s *session) loginAhead() {
	reserve := min(s.lease.uses/5, mostReserve)
	failedLately := s.failure != nil && time.Now().Before(s.next)
	if s.left <= reserve && reserve > 0 && s.flight == nil && !failedLately {
		s.fly(s.login)
	}
}

// aboutItself is current for a request that makes Vault look at the token
// again after it has counted the use.
func (s *session) aboutItself(ctx context.Context) (grant, error) {
	for {
		g, single, err := s.takeOrLogIn(ctx, 1)
		switch {
		case err != nil:
			return grant{}, err
		case single:
			return grant{}, errTooFewUses
		case g != grant{}:
			return g, nil
		}
	}
}

// takeOrLogIn takes a use, or logs in and takes none. single says that the
// lease can never have more than spare uses.
func (s *session) takeOrLogIn(ctx context.Context, spare int) (g grant, single bool, err error) {
	s.mu.Lock()
	if s.valid() && s.lease.uses > 0 && s.lease.uses <= spare {
		defer s.mu.Unlock()
		return grant{}, true, nil
	}
	if g, ok := s.take(spare); ok {
		defer s.mu.Unlock()
		return g, false, nil
	}
	if s.flight == nil && time.Now().Before(s.retryAt) {
		defer s.mu.Unlock()
		return grant{}, false, s.failure
	}
	return grant{}, false, s.flyAndLand(ctx)
}

// count sets how often the token may be used from now on. The caller holds
// mu; known is the lease before.
func (s *session) count(known lease) {
	left := s.lease.uses
	if known.uses > 0 && known.token.Equal(s.lease.token) {
		// Vault has not counted yet what is under way.
		left = min(left, s.left)
	}
	s.left = left
}

// writeLogin writes fields to a login and returns the answer with the uses
// of its token, which vault/api leaves out; 0 is no limit.
func writeLogin(ctx context.Context, v *api.Client, path string, fields map[string]any) (*api.Secret, int, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, 0, err
	}
	resp, err := v.Logical().WriteRawWithContext(ctx, path, body)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return nil, 0, err
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, err
	}
	var answer struct {
		Auth struct {
			NumUses int `json:"num_uses"`
		} `json:"auth"`
	}
	got, err := api.ParseSecret(bytes.NewReader(content))
	if err == nil {
		err = json.Unmarshal(content, &answer)
	}
	if err != nil {
		return nil, 0, errNotVault
	}
	return got, answer.Auth.NumUses, nil
}
