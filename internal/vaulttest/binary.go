package vaulttest

import (
	"fmt"
	"os/exec"

	"github.com/caddy-hubspot/caddy-hubspot/internal/testserver"
)

// Binary returns the path of a Vault server binary, building it if need be.
func Binary() (string, error) {
	if path, err := exec.LookPath("vault"); err == nil {
		return path, nil
	}
	path, err := testserver.Build("vault", "internal/vaulttest/server")
	if err != nil {
		return "", fmt.Errorf("no Vault to test with: put a vault binary (1.16 or later) on PATH, "+
			"or make the Go module proxy reachable so that internal/vaulttest/server can be built: %w", err)
	}
	return path, nil
}
