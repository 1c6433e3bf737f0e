package main

import (
	"maps"
	"testing"
)

const pprofTraces = `File: caddy
Type: cpu
Duration: 4s, Total samples = 100ms
-----------+-------------------------------------------------------
      50ms   runtime.mallocgc
             github.com/caddy-hubspot/caddy-hubspot/caddymodule.(*Proxy).ServeHTTP
             net/http.(*conn).serve
-----------+-------------------------------------------------------
      20ms   internal/runtime/syscall.Syscall6
             net/http.(*persistConn).writeLoop
-----------+-------------------------------------------------------
      20ms   runtime.scanobject
             runtime.gcBgMarkWorker
             github.com/caddy-hubspot/caddy-hubspot/caddymodule.neverReached
-----------+-------------------------------------------------------
      10ms   runtime.futex (inline)
             runtime.mcall
-----------+-------------------------------------------------------
`

func TestSumTraces(t *testing.T) {
	t.Parallel()
	got, err := sumTraces([]byte(pprofTraces))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"ours": 0.5, "Go's transport": 0.2, "garbage collector": 0.2, "scheduler and the rest": 0.1}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := sumTraces([]byte("File: caddy\n")); err == nil {
		t.Error("a profile without stacks is summed up")
	}
}
