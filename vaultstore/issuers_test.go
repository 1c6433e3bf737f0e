package vaultstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/vaulttest"
	"github.com/caddy-hubspot/caddy-hubspot/vaultstore"
)

// jwtSigner issues workload tokens.
type jwtSigner struct {
	key    *ecdsa.PrivateKey
	public string
}

func newSigner(t *testing.T) jwtSigner {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return jwtSigner{key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

func (s jwtSigner) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode(payload)
	digest := sha256.Sum256([]byte(token))
	r, sig, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return token + "." + encode(append(r.FillBytes(make([]byte, 32)), sig.FillBytes(make([]byte, 32))...))
}

func jwtAuth(t *testing.T, v *vaulttest.Server, policy string) vaultstore.JWTAuth {
	t.Helper()
	signer := newSigner(t)
	mount := v.EnableAuth(t, "jwt")
	v.Write(t, "auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{signer.public}})
	v.Write(t, "auth/"+mount+"/role/sidecar", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": policy,
	})
	token := signer.sign(t, map[string]any{"sub": "sidecar", "aud": "vault"})
	return vaultstore.JWTAuth{Mount: mount, Role: "sidecar", TokenFile: writeFile(t, token)}
}

// kubernetesAuth uses Vault's own kubernetes login. Of Kubernetes itself only
// the token review, which Vault asks for, is made up.
func kubernetesAuth(t *testing.T, v *vaulttest.Server, policy string) vaultstore.KubernetesAuth {
	t.Helper()
	token := newSigner(t).sign(t, map[string]any{
		"iss":                                    "kubernetes/serviceaccount",
		"sub":                                    "system:serviceaccount:shop:sidecar",
		"kubernetes.io/serviceaccount/namespace": "shop",
		"kubernetes.io/serviceaccount/service-account.name": "sidecar",
		"kubernetes.io/serviceaccount/service-account.uid":  "6b1f4a7e",
	})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": map[string]any{
			"authenticated": strings.Contains(string(body), token),
			"user":          map[string]any{"username": "system:serviceaccount:shop:sidecar", "uid": "6b1f4a7e"},
		}})
	}))
	t.Cleanup(api.Close)
	mount := v.EnableAuth(t, "kubernetes")
	v.Write(t, "auth/"+mount+"/config", map[string]any{
		"kubernetes_host": api.URL, "disable_local_ca_jwt": true, "token_reviewer_jwt": token,
	})
	v.Write(t, "auth/"+mount+"/role/sidecar", map[string]any{
		"bound_service_account_names": "sidecar", "bound_service_account_namespaces": "shop", "token_policies": policy,
	})
	return vaultstore.KubernetesAuth{Mount: mount, Role: "sidecar", TokenFile: writeFile(t, token)}
}

// certAuth trusts the certificates of a new authority.
func certAuth(t *testing.T, v *vaulttest.Server, policy string, c *vaultstore.Config) vaultstore.CertAuth {
	t.Helper()
	dir := t.TempDir()
	authority := vaulttest.NewAuthority(t, dir)
	pemCert, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	mount := v.EnableAuth(t, "cert")
	v.Write(t, "auth/"+mount+"/certs/sidecar", map[string]any{"certificate": string(pemCert), "token_policies": policy, "token_ttl": "2s"})
	c.Address = v.TLSAddress
	c.TLS = vaultstore.TLS{
		CAFile:         v.CAFile,
		ClientCertFile: filepath.Join(dir, "client.pem"),
		ClientKeyFile:  filepath.Join(dir, "client-key.pem"),
	}
	authority.IssueClient(t, "sidecar", c.TLS.ClientCertFile, c.TLS.ClientKeyFile)
	return vaultstore.CertAuth{Mount: mount, Role: "sidecar"}
}
