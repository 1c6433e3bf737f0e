package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/connection"
)

// statusReport is the answer of /hubspot/status.
type statusReport struct {
	Store     storeStatus    `json:"store"`
	Endpoints endpointStatus `json:"endpoints"`
	Apps      []appStatus    `json:"apps"`
	Callers   []string       `json:"callers"`
	Freezes   freezeStatus   `json:"freezes"`
	// Audit is nil without an audit log.
	Audit *auditStatus `json:"audit,omitempty"`
}

type storeStatus struct {
	Type  string `json:"type"`
	Ready bool   `json:"ready"`
	// Problem says why the store is not ready.
	Problem string `json:"problem,omitempty"`
}

type endpointStatus struct {
	API       string `json:"api"`
	Authorize string `json:"authorize"`
	Version   string `json:"version"`
}

type appStatus struct {
	Name        string `json:"name"`
	RedirectURI string `json:"redirectUri"`
	// PendingWrites are connections whose newest tokens are in memory only.
	PendingWrites int                   `json:"pendingWrites"`
	Alarms        map[string]alarmSince `json:"alarms,omitempty"`
}

type alarmSince struct {
	Since time.Time `json:"since"`
}

// status describes the running config.
func (a *App) status(ctx context.Context) statusReport {
	report := statusReport{
		Store:     storeStatus{Type: a.store.name, Ready: true},
		Endpoints: endpointStatus{API: a.endpoints.API, Authorize: a.endpoints.Authorize, Version: a.endpoints.Version},
		Apps:      make([]appStatus, 0, len(a.hubApps)),
		Callers:   slices.AppendSeq([]string{}, maps.Keys(a.Callers)),
		Freezes:   a.freezeStatus(),
		Audit:     a.auditStatus(),
	}
	slices.Sort(report.Callers)
	if err := a.store.probe(ctx); err != nil {
		report.Store.Ready, report.Store.Problem = false, err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(a.hubApps)) {
		hub := a.hubApps[name]
		app := appStatus{Name: name, RedirectURI: hub.settings.RedirectURI, PendingWrites: hub.manager.Pending()}
		for reason, since := range hub.manager.Alarms() {
			if app.Alarms == nil {
				app.Alarms = make(map[string]alarmSince)
			}
			app.Alarms[string(reason)] = alarmSince{since}
		}
		report.Apps = append(report.Apps, app)
	}
	return report
}

// notReady returns the reasons for which the service is degraded: connections
// that are not in memory cannot be served, new tokens are only there, or calls
// go on without being written down.
func (a *App) notReady(ctx context.Context) []string {
	var reasons []string
	if err := a.store.probe(ctx); err != nil {
		reasons = append(reasons, fmt.Sprintf("store %s: %v", a.store.name, err))
	}
	if status := a.auditStatus(); status != nil && status.Problem != "" {
		reasons = append(reasons, fmt.Sprintf("audit %s: %s", status.File, status.Problem))
	}
	for _, name := range slices.Sorted(maps.Keys(a.hubApps)) {
		if n := a.hubApps[name].manager.Pending(); n > 0 {
			reasons = append(reasons, fmt.Sprintf("app %s: the newest tokens of %d connections are in memory only, the store has not taken them yet", name, n))
		}
	}
	return reasons
}

// healthyStore is a store that can say whether it can be used now.
type healthyStore interface {
	// Health returns nil, or why the store cannot be used.
	Health(ctx context.Context) error
}

// probe asks the store whether it can be used.
func (p *pooledStore) probe(ctx context.Context) error {
	if s, ok := p.store.(healthyStore); ok {
		return s.Health(ctx)
	}
	_, err := p.store.List(ctx, "readiness", "", 1)
	if errors.Is(err, connection.ErrNotFound) {
		return nil
	}
	return err
}
