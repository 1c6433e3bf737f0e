package vaulttest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/testserver"
)

// initialize makes a new, unsealed Vault of the node, with an audit device.
func (s *Server) initialize(tb testing.TB) {
	tb.Helper()
	reply := s.must(tb, "", http.MethodPut, "sys/init", object{"secret_shares": 1, "secret_threshold": 1})
	s.RootToken, _ = reply["root_token"].(string)
	if keys, ok := reply["keys_base64"].([]any); ok && len(keys) == 1 {
		s.unsealKey, _ = keys[0].(string)
	}
	if s.RootToken == "" || s.unsealKey == "" {
		tb.Fatal("initialising Vault: the answer has no root token or key")
	}
	s.Unseal(tb)
	s.Write(tb, "sys/audit/file", object{"type": "file", "options": object{"file_path": s.AuditLog}})
}

// Unseal unseals the node and waits until it is active or a standby.
func (s *Server) Unseal(tb testing.TB) {
	tb.Helper()
	s.must(tb, "", http.MethodPut, "sys/unseal", object{"key": s.unsealKey})
	s.WaitServing(tb)
}

// WaitServing waits until the node is active, or a standby that can forward
// to the active node: after a leader was lost, that takes an election.
func (s *Server) WaitServing(tb testing.TB) {
	tb.Helper()
	s.waitFor(tb, "active, or standby of an active node", s.serves)
}

func (s *Server) serves() bool {
	switch health(s.client, s.Address) {
	case http.StatusOK:
		return true
	case http.StatusTooManyRequests:
	default:
		return false
	}
	resp, err := s.client.Get(s.Address + "/v1/sys/leader")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var leader struct {
		Address string `json:"leader_address"`
	}
	// It may name one that is gone, or itself when it is about to lead.
	return json.NewDecoder(resp.Body).Decode(&leader) == nil && leader.Address != "" &&
		health(s.client, leader.Address) == http.StatusOK
}

// Seal seals the node, which must be the active one.
func (s *Server) Seal(tb testing.TB) {
	tb.Helper()
	s.must(tb, s.RootToken, http.MethodPut, "sys/seal", nil)
	s.waitFor(tb, "sealed", func() bool { return health(s.client, s.Address) == http.StatusServiceUnavailable })
}

// Stop ends the process. The data stays.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.process.Stop()
}

// Kill ends the process as a crash would. The data stays.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.process.Kill()
}

// Restart starts the process again on the same data and addresses, after
// Stop or Kill, and unseals it.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for !s.start(tb) {
		if time.Now().After(deadline) {
			tb.Fatalf("Vault's port is taken: %s", testserver.Tail(s.logFile()))
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.Unseal(tb)
}

// StartCluster starts n nodes that form one cluster, the first of them
// active. They share root token and unseal key.
func StartCluster(tb testing.TB, n int) []*Server {
	tb.Helper()
	nodes := []*Server{Start(tb)}
	// A node becomes a voter when it has been healthy for this long.
	nodes[0].Write(tb, "sys/storage/raft/autopilot/configuration", object{"server_stabilization_time": "100ms"})
	for range n - 1 {
		s := newServer(tb, tb.TempDir(), false)
		tb.Cleanup(func() { s.process.Stop() })
		s.RootToken, s.unsealKey = nodes[0].RootToken, nodes[0].unsealKey
		s.must(tb, "", http.MethodPut, "sys/storage/raft/join", object{"leader_api_addr": nodes[0].Address})
		s.Unseal(tb)
		nodes = append(nodes, s)
	}
	nodes[0].waitFor(tb, "leader of voters", func() bool { return nodes[0].voters(tb) == n })
	return nodes
}

// voters counts the nodes that may elect a leader and be elected.
func (s *Server) voters(tb testing.TB) int {
	config, _ := s.Read(tb, "sys/storage/raft/configuration")["config"].(map[string]any)
	servers, _ := config["servers"].([]any)
	count := 0
	for _, server := range servers {
		if entry, _ := server.(map[string]any); entry["voter"] == true {
			count++
		}
	}
	return count
}
