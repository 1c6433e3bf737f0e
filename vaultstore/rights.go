package vaultstore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// rule is one rule of the policy that a login needs, as it stands in
// examples/vault/sidecar.hcl. The zero value is a request that no rule of
// that policy is about.
type rule struct {
	path         string
	capabilities []string
	// samples are paths that the rule must cover. No record has them.
	samples []sample
	// polled is for what a login may lack and is asked for all the time: a
	// refusal is nothing to complain of.
	polled bool
}

// sample is a path, and what must be allowed on it.
type sample struct {
	path         string
	capabilities []string
}

// sampleID stands for every id: rules end in a glob before it.
var sampleID = "00/" + strings.Repeat("0", idLength)

func (p paths) idKeyRule(app string) rule {
	path := p.mount + "/data/" + p.prefix + "/apps/" + app + "/key"
	return rule{path: path, capabilities: []string{"create", "read"}, samples: []sample{{path, []string{"create", "read"}}}}
}

func (p paths) recordRule(app string) rule {
	folder := p.mount + "/data/" + p.prefix + "/connections/" + app + "/"
	all := []string{"create", "read", "update"}
	return rule{path: folder + "*", capabilities: all, samples: []sample{{folder + sampleID, all}}}
}

// metadataRule is for listings and for finding old versions.
func (p paths) metadataRule(app string) rule {
	folder := p.mount + "/metadata/" + p.prefix + "/connections/" + app + "/"
	return rule{path: folder + "*", capabilities: []string{"list", "read"}, samples: []sample{
		{folder, []string{"list"}},
		{folder + sampleID[:3], []string{"list"}},
		{folder + sampleID, []string{"read"}},
	}}
}

func (p paths) destroyRule(app string) rule {
	folder := p.mount + "/destroy/" + p.prefix + "/connections/" + app + "/"
	return rule{path: folder + "*", capabilities: []string{"update"}, samples: []sample{{folder + sampleID, []string{"update"}}}}
}

func (p paths) documentRule() rule {
	folder := p.mount + "/data/" + p.prefix + "/control/"
	all := []string{"create", "read", "update"}
	return rule{path: folder + "*", capabilities: all, samples: []sample{{folder + "freezes", all}}, polled: true}
}

func credentialsRule(mount, path string) rule {
	full := mount + "/data/" + path
	return rule{path: full, capabilities: []string{"read"}, samples: []sample{{full, []string{"read"}}}}
}

// saveRules are what it takes to store a connection of an app.
func (s *Store) saveRules(app string) []rule {
	key := s.paths.idKeyRule(app)
	if _, made := s.idKeys.Load(app); made {
		key.samples = []sample{{key.path, []string{"read"}}}
	}
	return []rule{key, s.paths.recordRule(app)}
}

// appRules are all that an app takes.
func (s *Store) appRules(app string) []rule {
	return append(s.saveRules(app), s.paths.metadataRule(app), s.paths.destroyRule(app))
}

// text is the rule as a policy has it.
func (r rule) text() string {
	quoted := make([]string, len(r.capabilities))
	for i, c := range r.capabilities {
		quoted[i] = fmt.Sprintf("%q", c)
	}
	return fmt.Sprintf("path %q { capabilities = [%s] }", r.path, strings.Join(quoted, ", "))
}

// denied is the error of a request that Vault answered with 403.
func (r rule) denied() error {
	if r.path == "" {
		return fmt.Errorf("%w: the login's policy does not allow this (see examples/vault)", errDenied)
	}
	return fmt.Errorf("%w; add to the login's policy: %s", errDenied, r.text())
}

// lack is a rule that the login's policy does not have, or not wholly.
type lack struct {
	rule
	missing []string
}

// deniedFor is the error for rights that the login lacks; nil if it lacks none.
func deniedFor(lacks []lack) error {
	if len(lacks) == 0 {
		return nil
	}
	var what, add []string
	for _, l := range lacks {
		what = append(what, strings.Join(l.missing, ", ")+" on "+l.path)
		add = append(add, l.text())
	}
	return fmt.Errorf("%w: the login's policy lacks %s; add to it: %s",
		connection.ErrDenied, strings.Join(what, "; "), strings.Join(add, " "))
}

// lacking compares a rule with what Vault says is allowed.
func (r rule) lacking(allowed func(path string) []string) lack {
	l := lack{rule: r}
	for _, s := range r.samples {
		has := allowed(s.path)
		for _, c := range s.capabilities {
			if !slices.Contains(has, c) && !slices.Contains(has, "root") && !slices.Contains(l.missing, c) {
				l.missing = append(l.missing, c)
			}
		}
	}
	return l
}
