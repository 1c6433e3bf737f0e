package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/cli"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/command/server"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/physical/raft"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/vault"
)

// node is a running Vault core with its listeners.
type node struct {
	core    *vault.Core
	servers []*http.Server
}

// startNode starts a sealed node. Initialising, unsealing and joining are
// done over its API, as with Vault's own binary.
func startNode(config *server.Config) (*node, error) {
	if config.Storage == nil || config.Storage.Type != "raft" {
		return nil, errors.New("the configuration must have storage of type raft")
	}
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.LevelFromString(config.LogLevel)})
	// Listening comes first: a port that is taken has to end the process
	// before it touches the storage.
	listeners, clusterAddrs, err := listen(config)
	if err != nil {
		return nil, err
	}
	core, err := newCore(config, logger)
	if err != nil {
		return nil, fmt.Errorf("creating core: %w", err)
	}
	core.SetClusterListenerAddrs(clusterAddrs)
	core.SetClusterHandler(vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{DisableJSONLimitParsing: true},
	}))
	n := &node{core: core}
	for i, l := range listeners {
		n.serve(l, config.Listeners[i], logger)
	}
	return n, nil
}

func newCore(config *server.Config, logger hclog.Logger) (*vault.Core, error) {
	storage, err := raft.NewRaftBackend(config.Storage.Config, logger.Named("raft"))
	if err != nil {
		return nil, fmt.Errorf("opening raft storage: %w", err)
	}
	ha, ok := storage.(physical.HABackend)
	if !ok {
		return nil, errors.New("raft storage is not a high-availability backend")
	}
	return vault.NewCore(&vault.CoreConfig{
		RawConfig:          config,
		Physical:           storage,
		HAPhysical:         ha,
		StorageType:        "raft",
		LogicalBackends:    secretsEngines,
		CredentialBackends: authMethods,
		AuditBackends:      map[string]audit.Factory{"file": audit.NewFileBackend},
		BuiltinRegistry:    registry{},
		DisableMlock:       config.DisableMlock,
		RedirectAddr:       config.Storage.RedirectAddr,
		ClusterAddr:        config.Storage.ClusterAddr,
		DefaultLeaseTTL:    config.DefaultLeaseTTL,
		MaxLeaseTTL:        config.MaxLeaseTTL,
		Logger:             logger,
	})
}

// listen opens the API listeners in the order of the configuration. The
// cluster addresses are only resolved: the core listens on them itself.
func listen(config *server.Config) ([]net.Listener, []*net.TCPAddr, error) {
	var listeners []net.Listener
	var clusterAddrs []*net.TCPAddr
	for _, c := range config.Listeners {
		l, _, _, err := server.NewListener(c, os.Stderr, cli.NewMockUi())
		if err != nil {
			return nil, nil, fmt.Errorf("listening on %s: %w", c.Address, err)
		}
		listeners = append(listeners, l)
		if c.ClusterAddress == "" {
			continue
		}
		addr, err := net.ResolveTCPAddr("tcp", c.ClusterAddress)
		if err != nil {
			return nil, nil, fmt.Errorf("resolving cluster address: %w", err)
		}
		clusterAddrs = append(clusterAddrs, addr)
	}
	return listeners, clusterAddrs, nil
}

func (n *node) serve(l net.Listener, config *configutil.Listener, logger hclog.Logger) {
	s := &http.Server{
		Handler:           vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: n.core, ListenerConfig: config}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          logger.StandardLogger(nil),
	}
	n.servers = append(n.servers, s)
	go func() { _ = s.Serve(l) }()
}

// stop seals the node and ends its listeners.
func (n *node) stop() error {
	err := n.core.Shutdown()
	for _, s := range n.servers {
		_ = s.Close()
	}
	return err
}
