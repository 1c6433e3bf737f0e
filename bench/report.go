package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// spread is the middle of some figures and how far they lie apart.
type spread struct{ Median, Min, Max float64 }

// spreadOf is zero for no figures. The median of an even number of them is
// the mean of the two in the middle.
func spreadOf(figures []float64) spread {
	if len(figures) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(figures))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// figure picks one of a measurement's.
type figure func(measurement) float64

func rate(m measurement) float64 { return m.Rate }
func p50(m measurement) float64  { return m.P50 }
func p99(m measurement) float64  { return m.P99 }
func cpu(m measurement) float64  { return m.CPU }
func rss(m measurement) float64  { return m.RSS }

// of is a figure of a contender, over all rounds.
func (c *cell) of(name string, get figure) spread {
	var figures []float64
	for _, round := range c.Rounds {
		figures = append(figures, get(round[name]))
	}
	return spreadOf(figures)
}

// ratio is a figure of a contender to that of the baseline in the same round,
// over all rounds: what the machine does beside it meets both.
func (c *cell) ratio(name, baseline string, get figure) spread {
	var figures []float64
	for _, round := range c.Rounds {
		if base := get(round[baseline]); base > 0 {
			figures = append(figures, get(round[name])/base)
		}
	}
	return spreadOf(figures)
}

// spoken says in which protocol the contender spoke to the upstream, and with
// how many connections opened in a run.
func (c *cell) spoken(name string) string {
	var sum upstreamCounts
	var connections []float64
	for _, round := range c.Rounds {
		got := round[name].Upstream
		sum.HTTP1 += got.HTTP1
		sum.HTTP2 += got.HTTP2
		connections = append(connections, float64(got.Connections))
	}
	protocol := "1.1"
	if sum.HTTP2 > sum.HTTP1 {
		protocol = "2"
	}
	return fmt.Sprintf("%s, %.0f new", protocol, spreadOf(connections).Median)
}

// table writes a cell as Markdown.
func (c *cell) table(w io.Writer, baseline string) {
	title := "GET of a list"
	if c.Method == "POST" {
		title = "POST of 1 KB"
	}
	plural := "s"
	if c.Clients == 1 {
		plural = ""
	}
	fmt.Fprintf(w, "\n### Upstream with %s, %s, %d client%s\n\n", protocols[c.Protocol], title, c.Clients, plural)
	fmt.Fprintf(w, "| | requests/s | × %[1]s | p50 ms | p99 ms | × %[1]s | CPU ms per 1,000 | × %[1]s | RSS MiB | upstream: HTTP, connections |\n", baseline)
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, name := range c.Names {
		columns := []string{
			name,
			fmt.Sprintf("%.0f", c.of(name, rate).Median), c.ratio(name, baseline, rate).String(),
			fmt.Sprintf("%.2f", c.of(name, p50).Median),
			fmt.Sprintf("%.2f", c.of(name, p99).Median), c.ratio(name, baseline, p99).String(),
			"–", "–", "–", c.spoken(name),
		}
		if used := c.of(name, cpu); used.Max > 0 {
			columns[6], columns[7] = fmt.Sprintf("%.1f", used.Median), c.ratio(name, baseline, cpu).String()
			columns[8] = fmt.Sprintf("%.0f", c.of(name, rss).Median)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(columns, " | "))
	}
	if others := c.others(); others.Max >= 0.05 {
		fmt.Fprintf(w, "\nOther programs took %.0f %% of the machine meanwhile (%.0f–%.0f %%): figures are worse than they could be, and their spread wider.\n",
			100*others.Median, 100*others.Min, 100*others.Max)
	}
}

// others is the part of the machine that was not the bench's, over all runs.
func (c *cell) others() spread {
	var parts []float64
	for _, round := range c.Rounds {
		for _, m := range round {
			parts = append(parts, m.Others)
		}
	}
	return spreadOf(parts)
}

// String is the form of tables: the median, and the least and most in
// parentheses.
func (s spread) String() string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max)
}

// protocols are the upstreams that there are.
var protocols = map[string]string{"http1": "HTTP/1.1", "http2": "HTTP/2"}

// report is all that was measured, and how.
type report struct {
	// Date is the day, in UTC.
	Date string `json:"date"`
	// Machine is its processor and how many of them there are.
	Machine string `json:"machine"`
	// Go is the version of Go that the programs were built with.
	Go string `json:"go"`
	// Command is the command line.
	Command string `json:"command"`
	// GC is GOGC as the Caddys had it, or default.
	GC string `json:"gc"`
	// Baseline is the contender to which ratios are.
	Baseline string `json:"baseline"`
	// Cells are the tables.
	Cells []cell `json:"cells"`
}

// heading writes what holds for all tables.
func (r *report) heading(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %s, GOGC %s: `%s`\n", r.Date, r.Machine, r.Go, r.GC, r.Command)
}

// write writes the report as JSON.
func (r *report) write(file string) error {
	content, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(file, append(content, '\n'), 0o600); err != nil { //nolint:gosec // where -json says
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// machine names the processor.
func machine(cpus int) string {
	content, _ := os.ReadFile("/proc/cpuinfo") // without it the number is all that is known
	model := "processors"
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s", cpus, model)
}
