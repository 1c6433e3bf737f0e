package admin

import (
	"net/http"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/sidecar"
	"github.com/caddy-hubspot/caddy-hubspot/internal/adminapi"
	"github.com/caddy-hubspot/caddy-hubspot/internal/audit"
	"github.com/caddy-hubspot/caddy-hubspot/internal/exporting"
	"github.com/caddy-hubspot/caddy-hubspot/internal/hubapp"
)

// export serves GET /hubspot/export/<app>: all connections of an app, sealed to
// the keys of the config. It takes as long as it takes.
func export(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return failure(http.StatusMethodNotAllowed, "method %s is not allowed here; use GET", r.Method)
	}
	s, err := active()
	if err != nil {
		return err
	}
	app, ok := s.App(strings.TrimPrefix(r.URL.Path, adminapi.Export+"/"))
	if !ok {
		return failure(http.StatusNotFound, "there is no app %q", strings.TrimPrefix(r.URL.Path, adminapi.Export+"/"))
	}
	keys := s.ExportKeys()
	if len(keys) == 0 {
		recordExport(s, app, http.StatusForbidden)
		return failure(http.StatusForbidden, "the config does not permit exports: name the public key to which they are sealed, as in export_to age1…")
	}
	// Tried before the answer begins: a store that is away is said as such.
	if _, _, err := app.Manager.List(r.Context(), "", 1, func(string) bool { return true }); err != nil {
		return managerError(err)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err = exporting.Write(r.Context(), w, app.Manager, keys)
	if err != nil {
		recordExport(s, app, http.StatusInternalServerError)
		// The answer has begun: only its being cut off tells.
		panic(http.ErrAbortHandler)
	}
	recordExport(s, app, http.StatusOK)
	return nil
}

func recordExport(s *sidecar.Sidecar, app *hubapp.App, status int) {
	if log := s.Audit(); log != nil {
		log.Record(audit.Entry{Kind: audit.KindExport, App: app.Name, Method: http.MethodGet, Status: status})
	}
}
