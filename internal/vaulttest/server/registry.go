package main

import (
	"maps"
	"slices"

	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// secretsEngines and authMethods are what can be mounted. Others do not
// compile against the published versions of Vault's sdk, or are not needed.
var (
	secretsEngines = map[string]logical.Factory{
		"kv": kv.Factory,
	}
	authMethods = map[string]logical.Factory{
		"approle":    approle.Factory,
		"cert":       cert.Factory,
		"jwt":        jwt.Factory,
		"kubernetes": kubernetes.Factory,
	}
)

// registry tells the core which plugins are part of this binary.
type registry struct{}

func (registry) factories(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return secretsEngines
	case consts.PluginTypeCredential:
		return authMethods
	}
	return nil
}

func (r registry) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := r.factories(kind)[name]
	return func() (any, error) { return factory, nil }, ok
}

func (r registry) Contains(name string, kind consts.PluginType) bool {
	_, ok := r.factories(kind)[name]
	return ok
}

func (r registry) Keys(kind consts.PluginType) []string {
	return slices.Sorted(maps.Keys(r.factories(kind)))
}

func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
