package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// load is what clients do: each sends a request, waits for the answer and
// sends the next.
type load struct {
	method  string
	clients int
}

const (
	listPath   = "/crm/objects/2026-09/contacts?limit=4&properties=firstname,lastname,email"
	createPath = "/crm/objects/2026-09/contacts"
)

func (l load) path() string {
	if l.method == http.MethodPost {
		return createPath
	}
	return listPath
}

// headers are the same for all contenders, but that the upstream itself wants
// a token.
func (l load) headers(r *running) [][2]string {
	credential := callerKey
	if r.kind == kindDirect {
		credential = upstreamToken
	}
	fields := [][2]string{
		{"Authorization", "Bearer " + credential},
		{"X-HubSpot-User", user},
		{"Accept", "application/json"},
		{"User-Agent", "hubspot-api-client-nodejs; 14.0.1"},
	}
	if l.method == http.MethodPost {
		fields = append(fields, [2]string{"Content-Type", "application/json"})
	}
	return fields
}

// once makes one call, as a run makes many.
func (l load) once(ctx context.Context, client *http.Client, r *running) (answer, error) {
	var content io.Reader
	if l.method == http.MethodPost {
		content = bytes.NewReader(postBody())
	}
	req, err := http.NewRequestWithContext(ctx, l.method, r.url()+l.path(), content)
	if err != nil {
		return answer{}, err
	}
	for _, field := range l.headers(r) {
		req.Header.Set(field[0], field[1])
	}
	return ask(client, req)
}

// wrkResult is what wrk has found.
type wrkResult struct {
	// Requests is how many were answered.
	Requests int64 `json:"requests"`
	// Microseconds is how long it took.
	Microseconds int64 `json:"microseconds"`
	// P50 and P99 are latencies, in microseconds.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Failed are the requests that had no answer, or one of 400 or more.
	Failed int64 `json:"failed"`
	// cpu is what wrk itself used.
	cpu time.Duration
}

// wrkScript prints the result as JSON. The request is made once, so that the
// script takes no time of the load. %q is close enough to a string of Lua:
// bodies are ASCII.
const wrkScript = `wrk.method = %q
wrk.body = %q
done = function(summary, latency)
	local e = summary.errors
	io.write(string.format('\nresult {"requests":%%d,"microseconds":%%d,"p50":%%f,"p99":%%f,"failed":%%d}\n',
		summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
		e.connect + e.read + e.write + e.status + e.timeout))
end
`

// script writes the script for wrk and returns its file.
func (l load) script(folder string) (string, error) {
	var body []byte
	if l.method == http.MethodPost {
		body = postBody()
	}
	file := filepath.Join(folder, "wrk-"+l.method+".lua")
	if err := os.WriteFile(file, fmt.Appendf(nil, wrkScript, l.method, body), 0o600); err != nil { //nolint:gosec // in the bench's own folder
		return "", fmt.Errorf("writing the script for wrk: %w", err)
	}
	return file, nil
}

// run has the clients at it for a while.
func (l load) run(ctx context.Context, folder string, r *running, duration time.Duration) (wrkResult, error) {
	script, err := l.script(folder)
	if err != nil {
		return wrkResult{}, err
	}
	// One thread is enough to keep two processors busy.
	args := []string{
		"-t1", "-c" + strconv.Itoa(l.clients), "-d" + strconv.Itoa(max(1, int(duration.Round(time.Second).Seconds()))) + "s",
		"--timeout", "10s", "-s", script,
	}
	for _, field := range l.headers(r) {
		args = append(args, "-H", field[0]+": "+field[1])
	}
	cmd := exec.CommandContext(ctx, "wrk", append(args, r.url()+l.path())...) //nolint:gosec // its arguments are made here
	cmd.SysProcAttr = childAttributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	output, err := cmd.CombinedOutput()
	if err != nil {
		return wrkResult{}, fmt.Errorf("running wrk: %w\n%s", err, output)
	}
	result, err := parseWrk(output)
	result.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return result, err
}

var errNoResult = errors.New("wrk has printed no result")

// parseWrk finds the line of the script in what wrk prints.
func parseWrk(output []byte) (wrkResult, error) {
	_, line, found := bytes.Cut(output, []byte("\nresult "))
	if !found {
		return wrkResult{}, fmt.Errorf("%w:\n%s", errNoResult, output)
	}
	var result wrkResult
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&result); err != nil {
		return wrkResult{}, fmt.Errorf("%w: %w:\n%s", errNoResult, err, output)
	}
	if result.Requests == 0 || result.Microseconds == 0 {
		return wrkResult{}, fmt.Errorf("no request was answered:\n%s", output)
	}
	return result, nil
}
