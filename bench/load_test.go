package main

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestParseWrk(t *testing.T) {
	t.Parallel()
	got, err := parseWrk([]byte("Running 4s test @ http://127.0.0.1:1\n  1 threads and 32 connections\n\n" +
		"result {\"requests\":8000,\"microseconds\":4000000,\"p50\":1500.5,\"p99\":9000.25,\"failed\":3}\nRequests/sec: 2000\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (wrkResult{Requests: 8000, Microseconds: 4000000, P50: 1500.5, P99: 9000.25, Failed: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := parseWrk([]byte("unable to connect\n")); !errors.Is(err, errNoResult) {
		t.Errorf("without a result: %v", err)
	}
	if _, err := parseWrk([]byte("\nresult {\"requests\":0,\"microseconds\":4000000}\n")); err == nil {
		t.Error("a run without an answer counts")
	}
}

func TestScriptHoldsTheRequest(t *testing.T) {
	t.Parallel()
	file, err := load{method: http.MethodPost}.script(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`wrk.method = "POST"`, `wrk.body = "{\"properties\":`, `%d,"p50":%f`} {
		if !strings.Contains(string(content), want) {
			t.Errorf("there is no %q in:\n%s", want, content)
		}
	}
	if size := len(postBody()); size < 900 || size > 1100 {
		t.Errorf("the body has %d bytes, not some 1,000", size)
	}
}

// All proxies get the same request; the upstream is sent a token.
func TestHeaders(t *testing.T) {
	t.Parallel()
	credential := func(k kind) string {
		return load{method: http.MethodGet}.headers(&running{contender: contender{kind: k}})[0][1]
	}
	for _, k := range []kind{kindNginx, kindPlain, kindOurs} {
		if got := credential(k); got != "Bearer "+callerKey {
			t.Errorf("%s gets %s", k, got)
		}
	}
	if got := credential(kindDirect); got != "Bearer "+upstreamToken {
		t.Errorf("direct gets %s", got)
	}
}
