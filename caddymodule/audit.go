package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

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
	return parseBlock(d, "audit", map[string]setting{
		"roll_size": {parse: a.parseRollSize},
		"roll_keep": {parse: a.parseRollKeep},
	})
}

func (a *Audit) parseRollSize(d *caddyfile.Dispenser) error {
	value, err := oneArg(d)
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
	value, err := oneArg(d)
	if err != nil {
		return err
	}
	a.RollKeep, err = strconv.Atoi(value)
	if err != nil || a.RollKeep < 1 {
		return d.Errf("roll_keep: %q is not a number of files above zero; without the setting all are kept", value)
	}
	return nil
}

// limits checks the settings and returns the file and its limits. It touches
// no file.
func (a *Audit) limits(repl *caddy.Replacer) (file string, limits audit.Limits, err error) {
	switch {
	case a.File == "":
		return "", limits, errors.New("file is missing: name a file")
	case a.RollSize != 0 && a.RollSize < minRollSize:
		return "", limits, errors.New("roll_size: must be 65536 bytes or more")
	case a.RollKeep < 0:
		return "", limits, errors.New("roll_keep: must not be negative")
	}
	if file, err = repl.ReplaceOrErr(a.File, true, true); err != nil {
		return "", limits, fmt.Errorf("file: %w", err)
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", limits, fmt.Errorf("file: %w", err)
	}
	limits = audit.Limits{RollSize: a.RollSize, RollKeep: a.RollKeep}
	if limits.RollSize == 0 {
		limits.RollSize = defaultRollSize
	}
	return file, limits, nil
}

// provisionAudit makes the log or takes the one that is open. The file is
// opened by Start.
func (a *App) provisionAudit(repl *caddy.Replacer, logger *slog.Logger) error {
	if a.Audit == nil {
		return nil
	}
	file, limits, err := a.Audit.limits(repl)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	pooled, release, err := acquireAudit(file, limits, logger, a.metrics)
	if err != nil {
		return err
	}
	a.audit = pooled.log
	a.releases = append(a.releases, release)
	return nil
}

// openAudit opens the file.
func (a *App) openAudit() error {
	if a.audit == nil {
		return nil
	}
	if err := a.audit.Open(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// pooledAudit is an audit log over config reloads. Its file is all that it is
// known by: two logs of one file would be in each other's way.
type pooledAudit struct {
	log    *audit.Log
	limits newest[audit.Limits]
	logs   newest[slog.Handler]
}

func acquireAudit(file string, limits audit.Limits, logger *slog.Logger, m *metrics) (*pooledAudit, func(), error) {
	p, release, err := acquire(newKeyMaker("audit").add("file", file).key(), func() (*pooledAudit, error) {
		p := new(pooledAudit)
		lost := m.auditLost.WithLabelValues()
		p.log = audit.NewLog(audit.Options{
			File:   file,
			Limits: func() audit.Limits { limits, _ := p.limits.get(); return limits },
			Logger: slog.New(newestHandler{logs: &p.logs}),
			Lost:   func(n int) { lost.Add(float64(n)) },
		})
		return p, nil
	})
	if err != nil {
		return nil, nil, err
	}
	detachLimits := p.limits.attach(limits)
	detachLogs := p.logs.attach(logger.Handler())
	return p, func() { detachLimits(); detachLogs(); release() }, nil
}

// Destruct writes what is left and closes the file.
func (p *pooledAudit) Destruct() error {
	closeSoon(func(ctx context.Context) { _ = p.log.Close(ctx) })
	return nil
}

// auditStatus is the audit log's part of the answer of /hubspot/status. Its
// head is kept elsewhere to show later that no line behind it was cut off.
type auditStatus struct {
	File string     `json:"file"`
	Head audit.Head `json:"head"`
	// Lost are calls that went on without a line.
	Lost uint64 `json:"lost"`
	// Problem says why no lines can be written at the moment.
	Problem string `json:"problem,omitempty"`
}

// auditStatus returns nil without an audit log.
func (a *App) auditStatus() *auditStatus {
	if a.audit == nil {
		return nil
	}
	return &auditStatus{File: a.audit.File(), Head: a.audit.Head(), Lost: a.audit.Lost(), Problem: a.audit.Problem()}
}
