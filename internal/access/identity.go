package access

import (
	"errors"
	"fmt"
	"slices"
)

// Errors of the methods of [Registry] that find a caller by something other
// than a key. All of them make a 401.
var (
	// ErrNoCaller means that what the request came with is no caller's.
	ErrNoCaller = errors.New("it is no caller's")
	// ErrSeveralCallers means that two callers match. Which of the policies
	// were to hold is for the configuration to say, not for an order of
	// names.
	ErrSeveralCallers = errors.New("two callers match")
)

// errNoIdentity is said of a caller that nobody could be.
var errNoIdentity = errors.New("at least one way to know it is needed: key, cert_san, jwt, uid or gid")

// TokenConfig says which JWTs (RFC 7519) are a caller's.
type TokenConfig struct {
	// Issuer is the claim iss, to the letter.
	Issuer string
	// Audience has to be one of those in the claim aud.
	Audience string
	// Subjects are globs over the claim sub. At least one.
	Subjects []string
}

// identities are the ways to know a caller other than by its keys. The zero
// value matches nothing.
type identities struct {
	certificates []sanGlob
	token        *tokenRule
	peer         peerRule
}

func newIdentities(config CallerConfig) (identities, error) {
	certificates, err := compileSANs(config.Certificates)
	if err != nil {
		return identities{}, err
	}
	token, err := newTokenRule(config.Token)
	if err != nil {
		return identities{}, err
	}
	peer, err := newPeerRule(config.UIDs, config.GIDs)
	if err != nil {
		return identities{}, err
	}
	return identities{certificates: certificates, token: token, peer: peer}, nil
}

func (i *identities) none() bool {
	return len(i.certificates) == 0 && i.token == nil && i.peer.isZero()
}

// overlap reports what is certain to make a request match both callers.
func (i *identities) overlap(other *identities) error {
	for _, san := range i.certificates {
		if slices.ContainsFunc(other.certificates, san.equal) {
			return fmt.Errorf("cert_san: %q", san.pattern)
		}
	}
	if glob, ok := i.token.overlap(other.token); ok {
		return fmt.Errorf("jwt: the issuer, the audience and the subject %q", glob)
	}
	if i.peer.overlap(other.peer) {
		return errors.New("uid and gid: peers")
	}
	return nil
}

// tokenRule is a compiled [TokenConfig].
type tokenRule struct {
	issuer, audience string
	subjects         []Glob
}

// newTokenRule returns nil for no configuration.
func newTokenRule(config *TokenConfig) (*tokenRule, error) {
	switch {
	case config == nil:
		return nil, nil
	case config.Issuer == "":
		return nil, errors.New("jwt: issuer is missing: it is the claim iss of the tokens, to the letter")
	case config.Audience == "":
		return nil, errors.New("jwt: audience is missing: the tokens have to be made for this sidecar, so name what stands in their claim aud")
	case len(config.Subjects) == 0:
		return nil, errors.New("jwt: subject is missing: give globs over the claim sub, or * for every token of the issuer")
	}
	subjects, err := compileGlobs("jwt: subject", config.Subjects, func(string) error { return nil })
	if err != nil {
		return nil, err
	}
	return &tokenRule{issuer: config.Issuer, audience: config.Audience, subjects: subjects}, nil
}

func (t *tokenRule) match(issuer, subject string, audience []string) bool {
	return t.issuer == issuer && slices.Contains(audience, t.audience) &&
		slices.ContainsFunc(t.subjects, func(g Glob) bool { return g.Match(subject) })
}

// overlap returns a glob that both have. A token can be for two audiences, so
// two callers may differ in that; one that is for both matches both.
func (t *tokenRule) overlap(other *tokenRule) (Glob, bool) {
	if t == nil || other == nil || t.issuer != other.issuer || t.audience != other.audience {
		return Glob{}, false
	}
	for _, g := range t.subjects {
		if slices.ContainsFunc(other.subjects, func(o Glob) bool { return o.pattern == g.pattern }) {
			return g, true
		}
	}
	return Glob{}, false
}

// peerRule is a set of users and groups of the operating system. An empty
// list stands for all, unless both are empty: then it matches nobody.
type peerRule struct{ uids, gids []uint32 }

func newPeerRule(uids, gids []uint32) (peerRule, error) {
	if err := checkIDs("uid", uids); err != nil {
		return peerRule{}, err
	}
	if err := checkIDs("gid", gids); err != nil {
		return peerRule{}, err
	}
	return peerRule{uids: slices.Clone(uids), gids: slices.Clone(gids)}, nil
}

func checkIDs(setting string, ids []uint32) error {
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return fmt.Errorf("%s: %d is given twice", setting, id)
		}
	}
	return nil
}

func (p peerRule) isZero() bool { return len(p.uids) == 0 && len(p.gids) == 0 }

func (p peerRule) match(uid, gid uint32) bool {
	return !p.isZero() &&
		(len(p.uids) == 0 || slices.Contains(p.uids, uid)) &&
		(len(p.gids) == 0 || slices.Contains(p.gids, gid))
}

// overlap reports whether two rules have a user or a group in common and
// nothing that tells them apart. A caller with a user only and one with a
// group only may never meet in a process, so they do not overlap.
func (p peerRule) overlap(other peerRule) bool {
	uids, gids := commonIDs(p.uids, other.uids), commonIDs(p.gids, other.gids)
	if len(p.uids) > 0 && len(other.uids) > 0 && !uids {
		return false
	}
	if len(p.gids) > 0 && len(other.gids) > 0 && !gids {
		return false
	}
	return uids || gids
}

func commonIDs(a, b []uint32) bool {
	return slices.ContainsFunc(a, func(id uint32) bool { return slices.Contains(b, id) })
}
