package main

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	// A name may hold all that separates fields.
	const line = "4711 (nginx: (worker) 1) S 815 4711 4711 0 -1 4194624 3026 0 0 0 120 35 0 0 20 0 9 0 22741 1267 512 18446744073709551615 1 1 0"
	got, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if want := (stat{parent: 815, cpu: 1550 * time.Millisecond, pages: 512}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, broken := range []string{"", "4711", "4711 (caddy) S 815", line[:60]} {
		if _, err := parseStat([]byte(broken)); err == nil {
			t.Errorf("%q is read", broken)
		}
	}
}

func TestFreePortIsOutsideOfThoseOfConnections(t *testing.T) {
	t.Parallel()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	if port < 20000 || port >= 30000 {
		t.Errorf("port %d", port)
	}
}
