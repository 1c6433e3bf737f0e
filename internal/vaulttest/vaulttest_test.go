package vaulttest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
)

func write(t *testing.T, s *vaulttest.Server, path, value string) {
	t.Helper()
	s.Write(t, path, map[string]any{"data": map[string]any{"field": value}, "options": map[string]any{"cas": 0}})
}

func read(t *testing.T, s *vaulttest.Server, path string) any {
	t.Helper()
	data, _ := s.Read(t, path)["data"].(map[string]any)
	return data["field"]
}

func TestServerKeepsItsDataOverSealAndRestart(t *testing.T) {
	s := vaulttest.Start(t)
	path := s.Mount(t) + "/data/a"
	write(t, s, path, "planted-value")
	for _, tc := range []struct {
		name string
		do   func()
	}{
		{"seal", func() { s.Seal(t); s.Unseal(t) }},
		{"stop", func() { s.Stop(t); s.Restart(t) }},
		{"kill", func() { s.Kill(t); s.Restart(t) }},
	} {
		tc.do()
		if got := read(t, s, path); got != "planted-value" {
			t.Errorf("after %s the value is %v", tc.name, got)
		}
	}
	log, err := os.ReadFile(s.AuditLog)
	if err != nil || !strings.Contains(string(log), path) {
		t.Errorf("the audit log does not name the path (error %v)", err)
	}
	if strings.Contains(string(log), "planted-value") {
		t.Error("the audit log has the value in clear")
	}
}

func TestServerOverTLS(t *testing.T) {
	s := vaulttest.Start(t)
	ca, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.Get(s.TLSAddress + "/v1/sys/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("health over TLS = %d; want 200", resp.StatusCode)
	}
	client.CloseIdleConnections()
}

// TestClusterSurvivesItsLeader writes through every node, kills the leader,
// and finds the data on those that are left.
func TestClusterSurvivesItsLeader(t *testing.T) {
	nodes := vaulttest.StartCluster(t, 3)
	mount := nodes[0].Mount(t)
	for i, s := range nodes {
		write(t, s, mount+"/data/"+string(rune('a'+i)), "planted-value")
	}
	nodes[0].Kill(t)
	nodes[1].WaitServing(t)
	for i := range nodes {
		if got := read(t, nodes[1], mount+"/data/"+string(rune('a'+i))); got != "planted-value" {
			t.Errorf("what node %d wrote is read as %v", i, got)
		}
	}
	nodes[0].Restart(t)
	if got := read(t, nodes[0], mount+"/data/b"); got != "planted-value" {
		t.Errorf("the restarted node reads %v", got)
	}
}
