package vaulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	serverCert = "server.pem"
	serverKey  = "server-key.pem"
)

// Authority issues certificates that are good for an hour.
type Authority struct {
	// File holds the authority's own certificate, as PEM.
	File string

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority and writes its certificate into dir.
func NewAuthority(tb testing.TB, dir string) *Authority {
	tb.Helper()
	template := certificate("vaulttest authority")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	key := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatalf("creating an authority: %v", err)
	}
	a := &Authority{File: filepath.Join(dir, "ca.pem"), key: key}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatalf("creating an authority: %v", err)
	}
	writePEM(tb, a.File, "CERTIFICATE", der)
	return a
}

// IssueClient writes a new client certificate and its key to the two files.
func (a *Authority) IssueClient(tb testing.TB, name, certFile, keyFile string) {
	tb.Helper()
	template := certificate(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	a.issue(tb, template, certFile, keyFile)
}

// IssueServer writes a new certificate for localhost and 127.0.0.1 and its key to
// the two files.
func (a *Authority) IssueServer(tb testing.TB, certFile, keyFile string) {
	tb.Helper()
	template := certificate("localhost")
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	a.issue(tb, template, certFile, keyFile)
}

func (a *Authority) issue(tb testing.TB, template *x509.Certificate, certFile, keyFile string) {
	tb.Helper()
	key := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatalf("issuing a certificate: %v", err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatalf("encoding a key: %v", err)
	}
	writePEM(tb, keyFile, "EC PRIVATE KEY", keyDER)
	writePEM(tb, certFile, "CERTIFICATE", der)
}

func certificate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("generating a key: %v", err)
	}
	return key
}

func writePEM(tb testing.TB, path, kind string, der []byte) {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatalf("writing %s: %v", kind, err)
	}
}
