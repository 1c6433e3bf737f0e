package install

import (
	"net/http"
	"strconv"
	"strings"
)

// prefersJSON reports whether the client would rather have JSON than HTML
// (RFC 9110 12.5.1): by weight, and at the same weight by the more specific
// name, so that "application/json, */*" is JSON and "*/*" is HTML.
func prefersJSON(r *http.Request) bool {
	asJSON, asHTML := preferences(r)
	return asJSON.over(asHTML)
}

// prefersHTML reports whether the client would rather have HTML than JSON, and
// says so: for "*/*" alone, or nothing, neither is so.
func prefersHTML(r *http.Request) bool {
	asJSON, asHTML := preferences(r)
	return asHTML.over(asJSON)
}

// preferences reads how a client wants JSON and HTML.
func preferences(r *http.Request) (asJSON, asHTML preference) {
	for _, line := range r.Header.Values("Accept") {
		for item := range strings.SplitSeq(line, ",") {
			mediaRange, weight := parseAcceptItem(item)
			asJSON.consider("application/json", mediaRange, weight)
			asHTML.consider("text/html", mediaRange, weight)
		}
	}
	return asJSON, asHTML
}

// preference is how a client wants one media type.
type preference struct {
	weight float64
	// specificity is 3 for the type's own name, 2 for its main type, 1 for
	// anything, 0 for not mentioned.
	specificity int
}

// over reports whether p is wanted more than another.
func (p preference) over(other preference) bool {
	if p.weight != other.weight {
		return p.weight > other.weight
	}
	return p.weight > 0 && p.specificity > other.specificity
}

// consider takes the weight of a media range if the range is the most
// specific one so far that the media type belongs to.
func (p *preference) consider(mediaType, mediaRange string, weight float64) {
	main, _, _ := strings.Cut(mediaType, "/")
	specificity := 0
	switch mediaRange {
	case mediaType:
		specificity = 3
	case main + "/*":
		specificity = 2
	case "*/*":
		specificity = 1
	}
	if specificity > p.specificity {
		*p = preference{weight: weight, specificity: specificity}
	}
}

// parseAcceptItem reads one media range and its weight. A weight that makes
// no sense counts as 0.
func parseAcceptItem(item string) (mediaRange string, weight float64) {
	mediaRange, parameters, _ := strings.Cut(item, ";")
	weight = 1
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			q = 0
		}
		weight = q
	}
	return strings.ToLower(strings.TrimSpace(mediaRange)), weight
}
