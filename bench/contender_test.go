package main

import (
	"slices"
	"strings"
	"testing"
)

func TestContenders(t *testing.T) {
	t.Parallel()
	o := &options{
		names: []string{"direct", "nginx", "plain", "ours"}, baseline: "plain", caddy: "/caddy", pool: 512,
		transport: []string{"versions 1.1"},
		variants:  []named{{"small", "keepalive_idle_conns_per_host 8; read_buffer 8KiB"}},
		builds:    []named{{"before", "/before"}},
	}
	got, err := o.contenders()
	if err != nil {
		t.Fatal(err)
	}
	usual := []string{"keepalive_idle_conns_per_host 512", "versions 1.1"}
	want := []contender{
		{Name: "direct", kind: kindDirect},
		{Name: "nginx", kind: kindNginx},
		{Name: "plain", kind: kindPlain, binary: "/caddy", Transport: usual},
		{Name: "ours", kind: kindOurs, binary: "/caddy", Transport: usual},
		{Name: "ours-small", kind: kindOurs, binary: "/caddy", Transport: []string{"versions 1.1", "keepalive_idle_conns_per_host 8", "read_buffer 8KiB"}},
		{Name: "ours@before", kind: kindOurs, binary: "/before", Transport: usual},
	}
	for i, w := range want {
		g := got[i]
		if g.Name != w.Name || g.kind != w.kind || g.binary != w.binary || !slices.Equal(g.Transport, w.Transport) {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
}

func TestContendersThatCannotBe(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]options{
		"there is no contender": {names: []string{"plain", "apache"}, baseline: "plain"},
		"is there twice":        {names: []string{"plain", "plain"}, baseline: "plain"},
		"is not among":          {names: []string{"ours"}, baseline: "plain"},
	} {
		if _, err := o.contenders(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
}

// Every contender's configuration has in it what the contender is about.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	for name, wants := range map[string][]string{
		"nginx":           {"proxy_pass https://hubspot;", "server 127.0.0.1:2;", `Authorization "Bearer ` + upstreamToken},
		"plain":           {"reverse_proxy https://127.0.0.1:2 {", `header_up Authorization "Bearer `, "\tversions 2\n"},
		"plain-full":      {"\n\tmetrics\n", "\n\ttracing\n"},
		"ours":            {"hubspot_proxy hbdev", "api https://127.0.0.1:2", "\tversions 2\n"},
		"ours-audit":      {"deny * ", "audit "},
		"ours-full":       {"deny * ", "audit ", "\n\tmetrics\n", "\n\ttracing\n"},
		"ours-access-log": {"output file "},
	} {
		i := slices.IndexFunc(known(), func(c contender) bool { return c.Name == name })
		r := &running{contender: known()[i], port: 1, admin: 3}
		r.Transport = []string{"versions 2"}
		text, err := (&stage{port: 2, folder: "/folder"}).config(r, "/folder")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: there is no %q in:\n%s", name, want, text)
			}
		}
	}
}
