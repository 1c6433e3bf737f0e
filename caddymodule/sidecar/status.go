package sidecar

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// Status describes the running config.
func (s *Sidecar) Status(ctx context.Context) adminapi.Status {
	g := s.live.current.Load()
	status := adminapi.Status{
		Store:     adminapi.StoreStatus{Type: g.store.name, Ready: true},
		Endpoints: adminapi.EndpointStatus(g.endpoints),
		Apps:      make([]adminapi.AppStatus, 0, len(g.apps)),
		Callers:   slices.AppendSeq([]string{}, maps.Keys(s.Callers)),
		Freezes:   g.freezeStatus(),
		Audit:     s.auditStatus(),
		Endings:   s.endings(time.Now()),
	}
	slices.Sort(status.Callers)
	if err := s.settingsProblem(); err != nil {
		status.Settings = &adminapi.SettingsStatus{Problem: err.Error()}
	}
	if err := g.store.probe(ctx); err != nil {
		status.Store.Ready, status.Store.Problem = false, err.Error()
	}
	for _, a := range g.apps {
		app := appStatus(a)
		app.Journal = g.journalStatus(a.Name)
		status.Apps = append(status.Apps, app)
	}
	return status
}

func appStatus(a *hubapp.App) adminapi.AppStatus {
	budget := a.Manager.RefreshBudget()
	status := adminapi.AppStatus{
		Name: a.Name, RedirectURI: a.Settings.RedirectURI, PendingWrites: a.Manager.Pending(),
		RefreshBudget: adminapi.RefreshBudget{
			PerSecond: math.Round(budget.PerSecond*100) / 100, Ceiling: budget.Ceiling,
			Waiting: budget.Waiting, HeldUntil: budget.HeldUntil,
		},
	}
	for _, use := range a.Rotation() {
		if status.Rotation == nil {
			status.Rotation = &adminapi.Rotation{CountedSince: a.Secrets.Since(), Secrets: make(map[string]adminapi.SecretUse)}
		}
		status.Rotation.Secrets[use.Setting] = adminapi.SecretUse{LastNeeded: use.LastNeeded(), For: use.Uses}
	}
	status.Disconnecting, status.MoreDisconnecting = a.Manager.Disconnecting()
	for reason, since := range a.Manager.Alarms() {
		if status.Alarms == nil {
			status.Alarms = make(map[string]adminapi.AlarmSince)
		}
		status.Alarms[string(reason)] = adminapi.AlarmSince{Since: since}
	}
	return status
}

// Readiness says whether everybody can be served. While the process is exiting
// the answer is no.
func (s *Sidecar) Readiness(ctx context.Context) adminapi.Readiness {
	if caddy.Exiting() {
		return adminapi.Stopping()
	}
	reasons := s.notReady(ctx)
	return adminapi.Readiness{Ready: len(reasons) == 0, Reasons: reasons, Warnings: s.warnings()}
}

// notReady returns the reasons for which the service is degraded: connections
// that are not in memory cannot be served, new tokens are only there, or calls
// go on without being written down.
func (s *Sidecar) notReady(ctx context.Context) []string {
	g := s.live.current.Load()
	var reasons []string
	if err := g.store.probe(ctx); err != nil {
		reasons = append(reasons, fmt.Sprintf("store %s: %v", g.store.name, err))
	}
	if status := s.auditStatus(); status != nil && status.Problem != "" {
		reasons = append(reasons, fmt.Sprintf("audit %s: %s", status.File, status.Problem))
	}
	for _, a := range g.apps {
		if n := a.Manager.Pending(); n > 0 {
			reasons = append(reasons, fmt.Sprintf("app %s: the newest tokens of %d connections are in memory only, the store has not taken them yet", a.Name, n))
		}
	}
	return reasons
}

// warnings are what an operator has to look at although everything is served.
func (s *Sidecar) warnings() []string {
	if err := s.settingsProblem(); err != nil {
		return []string{fmt.Sprintf("settings: changed files are not used: %v", err)}
	}
	return nil
}

// endings are the calls to what HubSpot ends.
func (s *Sidecar) endings(now time.Time) []adminapi.Ending {
	var endings []adminapi.Ending
	for _, u := range s.metrics.Endings.Uses() {
		endings = append(endings, adminapi.Ending{
			App: u.App, Caller: u.Caller, Family: u.Family, What: u.What, Ends: u.Published, DaysLeft: u.DaysLeft(now),
			Effect: u.Effect, Instead: u.Instead, Source: u.Source, Calls: u.Calls, LastCall: u.Last.UTC(),
		})
	}
	return endings
}

func (g *Generation) freezeStatus() adminapi.FreezeStatus {
	r := g.freezes.Report()
	status := adminapi.FreezeStatus{Count: len(r.Freezes), Known: r.Known, ReadAt: r.ReadAt}
	if r.Problem != nil {
		status.Problem = r.Problem.Error()
	}
	return status
}

// auditStatus returns nil without an audit log.
func (s *Sidecar) auditStatus() *adminapi.AuditStatus {
	if s.audit == nil {
		return nil
	}
	return &adminapi.AuditStatus{File: s.audit.File(), Head: s.audit.Head(), Lost: s.audit.Lost(), Problem: s.audit.Problem()}
}
