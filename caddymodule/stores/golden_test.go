package stores_test

import (
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/caddytest"
)

func TestGoldenCaddyfiles(t *testing.T) { caddytest.Golden(t, "testdata") }
