package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

type keptGrant struct {
	ID           string   `json:"id"`
	ClientID     string   `json:"client_id"`
	HubID        int64    `json:"hub_id"`
	UserID       int64    `json:"user_id,omitempty"`
	Scopes       []string `json:"scopes"`
	RefreshToken string   `json:"refresh_token"`
}

type keptState struct {
	Grants []keptGrant `json:"grants"`
}

// loadState reads a state file. One that is not there is empty.
func loadState(file string) (keptState, error) {
	var state keptState
	if file == "" {
		return state, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("reading StateFile: %w", err)
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return state, fmt.Errorf("reading StateFile %s: %w; remove the file to start without installs", file, err)
	}
	return state, nil
}

func replaceFile(file string, state keptState) error {
	data, err := json.MarshalIndent(state, "", "\t")
	if err != nil {
		return fmt.Errorf("encoding state: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("making the folder of StateFile: %w", err)
	}
	// CreateTemp gives the file mode 0600.
	temp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("writing StateFile: %w", err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(data, '\n'))
	if err := errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("writing StateFile: %w", err)
	}
	if err := os.Rename(temp.Name(), file); err != nil {
		return fmt.Errorf("writing StateFile: %w", err)
	}
	return nil
}

// keep saves the grants that are installed. That it could not is logged and
// nothing more: the sandbox goes on in memory. The caller holds the lock, so
// that the newest state is the one that stays.
func (a *authority) keep() {
	if a.stateFile == "" {
		return
	}
	state := keptState{Grants: []keptGrant{}}
	for _, g := range a.all {
		if g.state != grantActive {
			continue
		}
		state.Grants = append(state.Grants, keptGrant{
			ID: g.id, ClientID: g.app.ClientID, HubID: g.portal.HubID, UserID: g.person.id, Scopes: g.scopes, RefreshToken: g.refresh,
		})
	}
	if err := replaceFile(a.stateFile, state); err != nil {
		a.logger.Warn("sandbox: installs will be lost when it stops", slog.Any("error", err))
	}
}

// retire ends the keeping, for a world that has been thrown away but still
// serves requests.
func (a *authority) retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stateFile = ""
}

// restore brings kept grants back. Those of apps and portals that there are
// no more are left out. The world is not in use yet.
func (w *world) restore(state keptState) {
	for _, kept := range state.Grants {
		app, portal := w.apps[kept.ClientID], w.portals[kept.HubID]
		if app == nil || portal == nil || kept.RefreshToken == "" {
			continue
		}
		w.auth.add(&grant{
			id: kept.ID, app: app, portal: portal.Portal, person: portal.personWith(kept.UserID),
			state: grantActive, scopes: kept.Scopes, refresh: kept.RefreshToken,
		})
	}
}
