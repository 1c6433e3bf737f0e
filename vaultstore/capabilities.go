package vaultstore

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// allowedFor and refusedFor are how long Vault's word on a path is
	// taken. A request that Vault refuses in between ends it.
	allowedFor = 30 * time.Second
	refusedFor = 5 * time.Second
	// seenFor is how long a refused request counts as a missing right where
	// Vault does not let the login ask what it may do.
	seenFor = time.Minute
)

// errCannotAsk is a login that may not ask what it may do: its token lacks
// Vault's policy "default".
var errCannotAsk = errors.New("the login may not ask for its capabilities")

// rights remembers what the login may do. The zero value is ready; it is safe
// for concurrent use.
type rights struct {
	mu sync.Mutex
	// told is what Vault said of paths.
	told map[string]told
	// mute is until when Vault is not asked, because it does not answer this
	// login.
	mute time.Time
	// seen is when a request was refused, by the path of its rule.
	seen map[string]time.Time
}

type told struct {
	capabilities []string
	at           time.Time
}

// saw notes how a request under a rule ended.
func (r *rights) saw(under rule, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !refused {
		delete(r.seen, under.path)
		return
	}
	if r.seen == nil {
		r.seen = make(map[string]time.Time)
	}
	r.seen[under.path] = time.Now()
	r.told = nil
}

// refusedLately returns the error of a request that was refused, if there
// was one under any of rules.
func (r *rights) refusedLately(rules []rule) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, under := range rules {
		if at, ok := r.seen[under.path]; ok && time.Since(at) < seenFor {
			return under.denied()
		}
	}
	return nil
}

// unknown returns the paths that Vault has to be asked for.
func (r *rights) unknown(rules []rule) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var paths []string
	for _, under := range rules {
		for _, s := range under.samples {
			if !r.told[s.path].fresh(s) {
				paths = append(paths, s.path)
			}
		}
	}
	return paths
}

// lacks returns what is missing of rules.
func (r *rights) lacks(rules []rule) []lack {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lacks []lack
	for _, under := range rules {
		l := under.lacking(func(path string) []string { return r.told[path].capabilities })
		if len(l.missing) > 0 {
			lacks = append(lacks, l)
		}
	}
	return lacks
}

func (r *rights) learn(answer map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil {
		r.told = make(map[string]told)
	}
	for path, capabilities := range answer {
		r.told[path] = told{capabilities, time.Now()}
	}
}

// fresh reports whether what was told still counts, under a rule.
func (t told) fresh(under sample) bool {
	allows := func(string) []string { return t.capabilities }
	if len(rule{samples: []sample{under}}.lacking(allows).missing) > 0 {
		return time.Since(t.at) < refusedFor
	}
	return time.Since(t.at) < allowedFor
}

func (r *rights) isMute() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.mute)
}

func (r *rights) becomeMute() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = time.Now().Add(seenFor)
}

// permits returns nil if the login may do what rules say, and otherwise
// ErrDenied with what it may not. Where Vault does not tell, the requests of
// the last minute do. Other errors wrap ErrUnavailable.
func (s *Store) permits(ctx context.Context, rules []rule) error {
	if s.rights.isMute() {
		return s.rights.refusedLately(rules)
	}
	paths := s.rights.unknown(rules)
	if len(paths) == 0 {
		return deniedFor(s.rights.lacks(rules))
	}
	for attempt := 0; ; attempt++ {
		g, answer, err := s.capabilities(ctx, paths)
		switch {
		case errors.Is(err, errCannotAsk):
			s.rights.becomeMute()
			return s.rights.refusedLately(rules)
		case err != nil:
			return err
		}
		s.rights.learn(answer)
		err = deniedFor(s.rights.lacks(rules))
		switch {
		case err == nil && attempt > 0:
			s.session.helped()
			return nil
		case err == nil || attempt > 0:
			return err
		}
		// What a role was given since is in new tokens only.
		if _, failed := s.session.replace(ctx, g); failed != nil {
			return err
		}
	}
}

// capabilities asks Vault what the login may do on paths
// (https://developer.hashicorp.com/vault/api-docs/system/capabilities-self).
func (s *Store) capabilities(ctx context.Context, paths []string) (grant, map[string][]string, error) {
	for attempt := 0; ; attempt++ {
		g, err := s.session.aboutItself(ctx)
		if errors.Is(err, errTooFewUses) {
			return grant{}, nil, errCannotAsk
		}
		if err != nil {
			return grant{}, nil, err
		}
		got, err := ask(ctx, s.client, func() (*api.Secret, error) {
			return s.client.as(g.token).Logical().WriteWithContext(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
		})
		switch {
		case err == nil:
			return g, capabilitiesOf(got, paths), nil
		case isTemporary(err):
			return grant{}, nil, unavailable(err)
		case attempt > 0 || !says(err, http.StatusForbidden, textInvalidToken):
			return grant{}, nil, errCannotAsk
		}
		switch _, err := s.session.replace(ctx, g); {
		case errors.Is(err, errDenied):
			// It is too soon for another login; this says nothing of rights.
			return grant{}, nil, unavailable(errors.New("vault answered 403: invalid token"))
		case err != nil:
			return grant{}, nil, unavailable(err)
		}
	}
}

// capabilitiesOf reads Vault's answer. A path that it leaves out has none.
func capabilitiesOf(got *api.Secret, paths []string) map[string][]string {
	answer := make(map[string][]string, len(paths))
	for _, path := range paths {
		answer[path] = nil
		if got == nil {
			continue
		}
		all, _ := got.Data[path].([]any)
		for _, c := range all {
			if name, ok := c.(string); ok {
				answer[path] = append(answer[path], name)
			}
		}
	}
	return answer
}
