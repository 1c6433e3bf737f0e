package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/pool"
	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
)

// Audit keeps a log of who used whose HubSpot account: one JSON line for each
// call through `hubspot_proxy` and each request of a caller to `hubspot_auth`,
// refused ones included. Users are there as the tags that the other logs have,
// paths without ids and queries. Each line is chained to the one before it by
// a hash: `caddy hubspot audit verify` shows a line that was changed or
// removed.
type Audit struct {
	// The file, which is made with mode 0600 if it is not there; its folder
	// must be there. Each process needs a file of its own, and no other
	// program may write, rotate or compress it. A relative path is relative
	// to the working directory. Placeholders are expanded when the config is
	// loaded. Required.
	File string `json:"file,omitempty"`

	// The size in bytes from which on the file gets the number of its last
	// line into its name, as in `audit-000000001234.jsonl`, and another is
	// begun. Default: 104857600, which is 100 MiB.
	RollSize int64 `json:"roll_size,omitempty"`

	// How many of those files are kept. Default: all.
	RollKeep int `json:"roll_keep,omitempty"`
}

const (
	defaultRollSize = 100 << 20
	minRollSize     = 64 << 10
)

// unmarshalCaddyfile reads the setting:
//
//	audit <file> {
//	    roll_size <size>
//	    roll_keep <number>
//	}
func (a *Audit) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&a.File) {
		return d.Err("audit: give one file, as in: audit /var/log/caddy/hubspot-audit.jsonl")
	}
	return settings.Block(d, "audit", map[string]settings.Setting{
		"roll_size": {Parse: a.parseRollSize},
		"roll_keep": {Parse: a.parseRollKeep},
	})
}

func (a *Audit) parseRollSize(d *caddyfile.Dispenser) error {
	value, err := settings.OneArg(d)
	if err != nil {
		return err
	}
	size, err := humanize.ParseBytes(value)
	if err != nil || size < minRollSize || size > 1<<62 {
		return d.Errf("roll_size: %q is not a size of 64KiB or more, such as 100MiB", value)
	}
	a.RollSize = int64(size)
	return nil
}

func (a *Audit) parseRollKeep(d *caddyfile.Dispenser) error {
	value, err := settings.OneArg(d)
	if err != nil {
		return err
	}
	a.RollKeep, err = strconv.Atoi(value)
	if err != nil || a.RollKeep < 1 {
		return d.Errf("roll_keep: %q is not a number of files above zero; without the setting all are kept", value)
	}
	return nil
}

// expand checks the settings and returns the file and its limits. It touches no
// file.
func (a *Audit) expand() (file string, limits audit.Limits, err error) {
	switch {
	case a.File == "":
		return "", limits, errors.New("file is missing: name a file")
	case a.RollSize != 0 && a.RollSize < minRollSize:
		return "", limits, errors.New("roll_size: must be 65536 bytes or more")
	case a.RollKeep < 0:
		return "", limits, errors.New("roll_keep: must not be negative")
	}
	if file, err = settings.Expand(a.File); err != nil {
		return "", limits, fmt.Errorf("file: %w", err)
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", limits, fmt.Errorf("file: %w", err)
	}
	return file, audit.Limits{RollSize: cmp.Or(a.RollSize, defaultRollSize), RollKeep: a.RollKeep}, nil
}

// auditSettings is all that an audit log is known by: two logs of one file
// would be in each other's way.
type auditSettings struct{ File string }

// pooledAudit is an audit log over config reloads.
type pooledAudit struct {
	log    *audit.Log
	limits pool.Newest[audit.Limits]
	logs   pool.Newest[slog.Handler]
}

// provisionAudit makes the log or takes the one that is open. The file is
// opened by Start.
func (s *Sidecar) provisionAudit() error {
	if s.AuditSettings == nil {
		return nil
	}
	file, limits, err := s.AuditSettings.expand()
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	pooled, err := acquire(&s.releases, pool.KeyOf("audit", auditSettings{file}), func() (*pooledAudit, error) {
		p := new(pooledAudit)
		p.log = audit.NewLog(audit.Options{
			File:   file,
			Limits: func() audit.Limits { limits, _ := p.limits.Get(); return limits },
			Logger: slog.New(pool.Handler(&p.logs)),
			Lost:   s.metrics.AuditLost,
		})
		return p, nil
	})
	if err != nil {
		return err
	}
	s.audit = pooled.log
	s.releases = append(s.releases, pooled.limits.Attach(limits), pooled.logs.Attach(s.logger.Handler()))
	return nil
}

// Destruct writes what is left and closes the file.
func (p *pooledAudit) Destruct() error {
	pool.CloseSoon(func(ctx context.Context) { _ = p.log.Close(ctx) })
	return nil
}
