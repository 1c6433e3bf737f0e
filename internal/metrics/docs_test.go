package metrics

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// described has the name and the labels of each metric, out of what Prometheus's
// own descriptions print.
var described = regexp.MustCompile(`fqName: "caddy_hubspot_(\w+)", .*variableLabels: \{([^}]*)\}`)

// describer has a collector that is asked what it collects.
type describer struct {
	prometheus.Registerer
	rows []string
}

// Register implements [prometheus.Registerer].
func (d *describer) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 16)
	c.Describe(descs)
	close(descs)
	for desc := range descs {
		match := described.FindStringSubmatch(desc.String())
		if match == nil {
			return fmt.Errorf("%s is of no known form", desc)
		}
		d.rows = append(d.rows, row(match[1], strings.Split(match[2], ",")))
	}
	return nil
}

func row(name string, labels []string) string {
	slices.Sort(labels)
	return name + " {" + strings.Join(labels, ",") + "}"
}

var documented = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]*)\\|")

// The table in the documentation has every metric with its labels, and no other.
func TestDocumented(t *testing.T) {
	t.Parallel()
	var d describer
	if err := New().Register(&d); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, match := range documented.FindAllStringSubmatch(string(page), -1) {
		labels := strings.NewReplacer("`", "", " ", "").Replace(match[2])
		rows = append(rows, row(match[1], strings.Split(labels, ",")))
	}
	for _, r := range d.rows {
		if !slices.Contains(rows, r) {
			t.Errorf("docs/metrics.md lacks %s", r)
		}
	}
	for _, r := range rows {
		if !slices.Contains(d.rows, r) {
			t.Errorf("docs/metrics.md has %s, which is not collected", r)
		}
	}
}
