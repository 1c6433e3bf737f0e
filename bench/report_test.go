package main

import (
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		figures []float64
		want    spread
	}{
		"none": {nil, spread{}},
		"one":  {[]float64{3}, spread{3, 3, 3}},
		"odd":  {[]float64{9, 1, 2}, spread{2, 1, 9}},
		"even": {[]float64{4, 1, 2, 9}, spread{3, 1, 9}},
	} {
		if got := spreadOf(test.figures); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// twoRounds is a cell in which the second round is twice as slow for all.
func twoRounds() cell {
	return cell{
		Protocol: "http1", Method: "GET", Clients: 32, Names: []string{"direct", "plain", "ours"},
		Rounds: []map[string]measurement{
			{"direct": {Rate: 4000}, "plain": {Rate: 1000, CPU: 100}, "ours": {Rate: 1200, CPU: 70, Upstream: upstreamCounts{HTTP2: 9}}},
			{"direct": {Rate: 2000}, "plain": {Rate: 500, CPU: 200}, "ours": {Rate: 600, CPU: 140, Upstream: upstreamCounts{HTTP2: 9}}},
		},
	}
}

// What slows a whole round down is not in the ratios.
func TestRatiosAreMadeWithinARound(t *testing.T) {
	t.Parallel()
	c := twoRounds()
	if got, want := c.ratio("ours", "plain", rate), (spread{1.2, 1.2, 1.2}); got != want {
		t.Errorf("requests: %v, want %v", got, want)
	}
	if got, want := c.ratio("ours", "plain", cpu), (spread{0.7, 0.7, 0.7}); got != want {
		t.Errorf("CPU: %v, want %v", got, want)
	}
	if got, want := c.of("ours", rate), (spread{900, 600, 1200}); got != want {
		t.Errorf("requests: %v, want %v", got, want)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	c := twoRounds()
	c.Rounds[0]["ours"] = measurement{Rate: 1200, CPU: 70, Others: 0.2, Upstream: upstreamCounts{HTTP2: 9, Connections: 2}}
	c.table(&text, "plain")
	for _, want := range []string{
		"### Upstream with HTTP/1.1, GET of a list, 32 clients\n",
		"| ours | 900 | 1.20 (1.20–1.20) |",
		"| direct | 3000 | 4.00 (4.00–4.00) | 0.00 | 0.00 | 0.00 (0.00–0.00) | – | – | – |",
		"| 2, 1 new |",
		"Other programs took",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("there is no %q in:\n%s", want, &text)
		}
	}
}
