package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/sandbox"
)

// callerKey is the key with which clients come, to all contenders alike; one
// that passes it on to the upstream gets a 401.
const callerKey = "bench-caller-key-of-no-value"

// upstreamToken is the access token that plain, nginx and direct send. Only
// the sidecar's is from an install; HubSpot's are about as long.
var upstreamToken = "CJT5k6DRMxIUAAEDUAAA-QMAAAAAAAAAAAAA" + strings.Repeat("0123456789abcdef", 12)

//go:embed config/*.tmpl
var configs embed.FS

var templates = template.Must(template.ParseFS(configs, "config/*.tmpl"))

// stage is the upstream and the contenders, all running side by side. Those
// that are not under load are idle and cost nothing.
type stage struct {
	options  *options
	folder   string
	client   *http.Client
	upstream *process
	port     int
	control  int
	running  []*running
}

// running is a contender that can be measured.
type running struct {
	contender
	// process is nil for direct.
	process *process
	port    int
	admin   int
}

// url is where clients find the contender.
func (r *running) url() string {
	scheme := "http"
	if r.kind == kindDirect {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, r.port)
}

// newStage starts everything for one kind of upstream. What has been started
// is in the stage that it returns, also with an error: the caller stops it.
func newStage(ctx context.Context, o *options, chosen []contender, protocol string) (*stage, error) {
	s := &stage{options: o, folder: filepath.Join(o.work, protocol)}
	if err := s.startUpstream(ctx, protocol); err != nil {
		return s, err
	}
	for _, c := range chosen {
		r, err := s.start(ctx, c)
		if err != nil {
			return s, err
		}
		if err := s.check(ctx, r); err != nil {
			return s, err
		}
	}
	return s, nil
}

// stop ends all that runs.
func (s *stage) stop() {
	for _, r := range s.running {
		if r.process != nil {
			r.process.stop()
		}
	}
	if s.upstream != nil {
		s.upstream.stop()
	}
}

func (s *stage) cert() string { return filepath.Join(s.folder, "upstream.pem") }

func (s *stage) startUpstream(ctx context.Context, protocol string) error {
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	key := filepath.Join(s.folder, "upstream-key.pem")
	if err := writeCertificate(s.cert(), key); err != nil {
		return err
	}
	var err error
	if s.client, err = newClient(s.cert()); err != nil {
		return err
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	if s.control, err = freePort(); err != nil {
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the bench itself: %w", err)
	}
	// A larger heap goal, so that the upstream takes less from the contenders.
	s.upstream, err = start(ctx, "upstream", s.folder, s.port, []string{"GOGC=400"},
		own, "upstream", "-cert", s.cert(), "-key", key,
		"-listen", "127.0.0.1:"+strconv.Itoa(s.port), "-control", "127.0.0.1:"+strconv.Itoa(s.control),
		fmt.Sprintf("-http2=%t", protocol == "http2"), fmt.Sprintf("-chunked=%t", s.options.chunked))
	return err
}

// newClient makes a client that trusts the upstream and follows no redirects.
func newClient(cert string) (*http.Client, error) {
	content, err := os.ReadFile(cert)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(content)
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// start runs a contender.
func (s *stage) start(ctx context.Context, c contender) (*running, error) {
	r := &running{contender: c, port: s.port}
	s.running = append(s.running, r)
	if c.kind == kindDirect {
		return r, nil
	}
	var err error
	if r.port, err = freePort(); err != nil {
		return nil, err
	}
	if r.admin, err = freePort(); err != nil {
		return nil, err
	}
	folder := filepath.Join(s.folder, c.Name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	config, err := s.writeConfig(r, folder)
	if err != nil {
		return nil, err
	}
	command := []string{c.binary, "run", "--config", config, "--adapter", "caddyfile"}
	if c.kind == kindNginx {
		command = []string{nginxPath(), "-p", folder, "-e", "stderr", "-c", config}
	}
	if r.process, err = start(ctx, c.Name, folder, r.port, s.environment(folder), command...); err != nil {
		return nil, err
	}
	if c.kind == kindOurs {
		return r, connect(ctx, s.client, fmt.Sprintf("http://localhost:%d", r.port))
	}
	return r, nil
}

// writeConfig writes the contender's configuration and returns its file.
func (s *stage) writeConfig(r *running, folder string) (string, error) {
	file := filepath.Join(folder, "config")
	text, err := s.config(r, folder)
	if err != nil {
		return "", fmt.Errorf("writing the configuration of %s: %w", r.Name, err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("writing the configuration of %s: %w", r.Name, err)
	}
	return file, nil
}

// config is the contender's configuration.
func (s *stage) config(r *running, folder string) (string, error) {
	name := string(r.kind) + ".caddyfile.tmpl"
	if r.kind == kindNginx {
		name = "nginx.conf.tmpl"
	}
	var text strings.Builder
	err := templates.ExecuteTemplate(&text, name, struct {
		contender

		Folder, CA, Token             string
		Port, AdminPort, UpstreamPort int
	}{r.contender, folder, s.cert(), upstreamToken, r.port, r.admin, s.port})
	return text.String(), err
}

// environment is what the Caddys find in theirs: the upstream's certificate
// in place of the system's, the sandbox's app, where traces go.
func (s *stage) environment(folder string) []string {
	env := []string{
		"HOME=" + folder, "XDG_CONFIG_HOME=" + folder, "XDG_DATA_HOME=" + folder,
		"SSL_CERT_FILE=" + s.cert(),
		"HUBSPOT_CLIENT_ID=" + sandbox.DemoClientID,
		"HUBSPOT_CLIENT_SECRET=" + sandbox.DemoClientSecret,
		"BENCH_CALLER_KEY=" + callerKey,
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		fmt.Sprintf("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", s.control),
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio",
		fmt.Sprintf("OTEL_TRACES_SAMPLER_ARG=%g", s.options.traces),
	}
	if s.options.gc != "default" {
		env = append(env, "GOGC="+s.options.gc)
	}
	return env
}

// check makes one call of each method through a contender, and refuses one
// that does not answer as the upstream does.
func (s *stage) check(ctx context.Context, r *running) error {
	for _, l := range []load{{method: http.MethodGet}, {method: http.MethodPost}} {
		got, err := l.once(ctx, s.client, r)
		if err != nil {
			return fmt.Errorf("checking %s: %w", r.Name, err)
		}
		want, wantStatus := listBody(), http.StatusOK
		if l.method == http.MethodPost {
			want, wantStatus = objectBody(), http.StatusCreated
		}
		if got.status != wantStatus || string(got.body) != string(want) {
			return fmt.Errorf("checking %s: %s gets status %d and %.300q, not the upstream's answer", r.Name, l.method, got.status, got.body)
		}
	}
	return nil
}

// nginxPath is where nginx is; Debian's is not on everybody's PATH. Empty:
// there is none.
func nginxPath() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		} else if !errors.Is(err, exec.ErrNotFound) {
			continue
		}
	}
	return ""
}
