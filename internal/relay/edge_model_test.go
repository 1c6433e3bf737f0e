package relay

import (
	"bufio"
	"cmp"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What other servers make of a request target. The models share no code with
// package access, which they are there to contradict. Each returns the paths
// that a server may have come to when it looks for what is asked for.

// goModel is a server of package net/http.
func goModel(target string) []string {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
	if err != nil {
		return nil
	}
	paths := []string{r.URL.Path, path.Clean(r.URL.Path)}
	// A program that parses a request target as a reference.
	if u, err := url.Parse(target); err == nil {
		paths = append(paths, u.Path, path.Clean(u.Path), u.JoinPath(".").Path)
	}
	return append(paths, caddyModel(r.URL.Path)...)
}

// caddyModel is what Caddy's matchers, rewrites and file server make of a
// decoded path.
func caddyModel(decoded string) []string {
	return []string{
		cleanPath(decoded), cleanPathKeepingSlashes(decoded),
		path.Clean("/" + decoded),
	}
}

// cleanPath keeps a slash at the end.
func cleanPath(p string) string {
	cleaned := path.Clean(p)
	if cleaned != "/" && strings.HasSuffix(p, "/") {
		cleaned += "/"
	}
	return cleaned
}

// cleanPathKeepingSlashes has a byte between slashes that no path has.
func cleanPathKeepingSlashes(p string) string {
	var apart strings.Builder
	for i, r := range p {
		if r == '/' && i > 0 && p[i-1] == '/' {
			apart.WriteByte(0xff)
		}
		apart.WriteRune(r)
	}
	return strings.ReplaceAll(cleanPath(apart.String()), "\xff", "")
}

// caddyMatches is Caddy's path matcher for a path and all below it.
func caddyMatches(pattern, decoded string) bool {
	p := cleanPath(strings.ToLower(decoded))
	return p == pattern || strings.HasPrefix(p, pattern+"/")
}

// edgeModel is HubSpot's edge and what may stand behind it. Nobody outside
// HubSpot knows which of the steps are taken, so each is or is not:
//
//  1. Cloudflare normalises the target: it decodes unreserved characters and
//     removes dot segments (RFC 3986), and makes slashes of backslashes and
//     one slash of many
//     (https://developers.cloudflare.com/rules/normalization/how-it-works/).
//  2. Up to two proxies decode the target once more than they should.
//  3. A router in Java reads it. Tomcat, Jetty and Jersey differ in whether
//     they cut parameters before or after decoding, or not at all; whether
//     %2F and %5C are decoded; whether a backslash is a slash; whether a path
//     is normalised after it was decoded; whether a slash at the end counts.
//     Old decoders take overlong UTF-8, or drop what they cannot read.
//  4. Programs trim segments, take + for a space (java.net.URLDecoder), drop
//     characters that are not seen, and cut extensions (Spring, Jersey).
//
// The case is left to whoever compares.
func edgeModel(target string) []string {
	target, _, _ = strings.Cut(target, "?")
	forms := branch([]string{target}, decodeUnreserved)
	forms = branch(forms, rfc3986Dots)
	forms = branch(forms, func(s string) string { return manySlashes.ReplaceAllString(strings.ReplaceAll(s, `\`, "/"), "/") })
	var finals []string
	for range 3 {
		finals = append(finals, routerModel(forms)...)
		forms = branch(forms, func(s string) string { return decodeOnce(s, "") })
	}
	return distinct(finals)
}

func routerModel(forms []string) []string {
	forms = branch(forms, cutParameters)
	decoded := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		decoded = append(decoded, decodeOnce(form, ""), decodeOnce(form, `/\`))
	}
	forms = distinct(decoded)
	forms = branch(forms, laxUTF8)
	forms = branch(forms, func(s string) string { return strings.ToValidUTF8(s, "") })
	forms = branch(forms, cutParameters)
	forms = branch(forms, func(s string) string { return strings.ReplaceAll(s, `\`, "/") })
	forms = branch(forms, func(s string) string { return manySlashes.ReplaceAllString(s, "/") })
	forms = branch(forms, func(s string) string { return modelUnseen.ReplaceAllString(s, "") })
	forms = branch(forms, func(s string) string { return modelBlanks.ReplaceAllString(s, "$1$2") })
	forms = branch(forms, rfc3986Dots)
	forms = branch(forms, cutParameters)
	forms = branch(forms, func(s string) string { return modelFirstDot.ReplaceAllString(s, "$1") })
	forms = branch(forms, func(s string) string { return modelLastDot.ReplaceAllString(s, "$1") })
	return branch(forms, func(s string) string { return cmp.Or(strings.TrimRight(s, "/"), "/") })
}

// branch adds what a step makes of each form.
func branch(forms []string, step func(string) string) []string {
	out := forms
	for _, form := range forms {
		out = append(out, step(form))
	}
	return distinct(out)
}

func distinct(forms []string) []string {
	seen := make(map[string]bool, len(forms))
	var out []string
	for _, form := range forms {
		if !seen[form] {
			seen[form] = true
			out = append(out, form)
		}
	}
	return out
}

var (
	manySlashes     = regexp.MustCompile(`/{2,}`)
	modelParameters = regexp.MustCompile(`;[^/]*`)
	modelUnseen     = regexp.MustCompile(`[\x{ad}\x{200b}-\x{200f}\x{2060}\x{feff}\x{fe00}-\x{fe0f}]`)
	modelBlanks     = regexp.MustCompile(`(/)[ +\pZ]+|[ +\pZ]+(/|\z)`)
	modelFirstDot   = regexp.MustCompile(`([^./])\.[^/]*/?\z`)
	modelLastDot    = regexp.MustCompile(`([^./])\.[^./]*\z`)
	escapedBytes    = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
)

func cutParameters(s string) string { return modelParameters.ReplaceAllString(s, "") }

func hexDigit(c byte) byte {
	if c |= 0x20; c >= 'a' {
		return c - 'a' + 10
	}
	return c & 0x0f
}

func unhexed(escape string) byte { return hexDigit(escape[1])<<4 | hexDigit(escape[2]) }

func decodeUnreserved(s string) string {
	return escapedBytes.ReplaceAllStringFunc(s, func(escape string) string {
		c := unhexed(escape)
		if c < utf8.RuneSelf && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("-._~", c) >= 0) {
			return string(rune(c))
		}
		return strings.ToUpper(escape)
	})
}

// decodeOnce decodes all but the characters in kept.
func decodeOnce(s, kept string) string {
	return escapedBytes.ReplaceAllStringFunc(s, func(escape string) string {
		if c := unhexed(escape); strings.IndexByte(kept, c) < 0 {
			return string([]byte{c})
		}
		return escape
	})
}

// rfc3986Dots is the loop of RFC 3986, 5.2.4, as it stands there.
func rfc3986Dots(input string) string {
	output := ""
	for input != "" {
		switch {
		case strings.HasPrefix(input, "/./"):
			input = input[2:]
		case input == "/.":
			input = "/"
		case strings.HasPrefix(input, "/../"), input == "/..":
			input = "/" + strings.TrimPrefix(input[3:], "/")
			output = output[:max(0, strings.LastIndexByte(output, '/'))]
		default:
			end := strings.IndexByte(input[1:], '/') + 1
			if end == 0 {
				end = len(input)
			}
			output += input[:end]
			input = input[end:]
		}
	}
	return output
}

// laxUTF8 is a decoder that trusts the lead byte of a sequence.
func laxUTF8(s string) string {
	var out []rune
	for i := 0; i < len(s); {
		length, value := 1, rune(s[i])
		switch c := s[i]; {
		case c >= 0xf0 && c < 0xf8:
			length, value = 4, rune(c&0x07)
		case c >= 0xe0 && c < 0xf0:
			length, value = 3, rune(c&0x0f)
		case c >= 0xc0 && c < 0xe0:
			length, value = 2, rune(c&0x1f)
		}
		if i+length > len(s) || !continues(s[i+1:i+length]) {
			return s
		}
		for _, c := range []byte(s[i+1 : i+length]) {
			value = value<<6 | rune(c&0x3f)
		}
		out = append(out, value)
		i += length
	}
	return string(out)
}

func continues(s string) bool {
	for i := range len(s) {
		if s[i]&0xc0 != 0x80 {
			return false
		}
	}
	return true
}

// modelRule is a rule of a policy, and modelPolicy a policy, in regular
// expressions.
type modelRule struct {
	methods string
	path    *regexp.Regexp
}

type modelPolicy struct {
	allow, deny []modelRule
}

func newModelPolicy(allow, deny []string) modelPolicy {
	rules := func(texts []string, flags string) (rules []modelRule) {
		for _, text := range texts {
			methods, glob, _ := strings.Cut(text, " ")
			pattern := strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`)
			rules = append(rules, modelRule{"," + methods + ",", regexp.MustCompile(`(?s` + flags + `)\A` + pattern + `\z`)})
		}
		return rules
	}
	return modelPolicy{rules(allow, ""), rules(deny, "i")}
}

func (r modelRule) match(method, path string) bool {
	return (r.methods == ",*," || strings.Contains(r.methods, ","+method+",")) && r.path.MatchString(path)
}

// permits is the verdict of the policy on a path that has one reading.
func (p modelPolicy) permits(method, path string) bool {
	for _, rule := range p.deny {
		if rule.match(method, path) {
			return false
		}
	}
	for _, rule := range p.allow {
		if rule.match(method, path) {
			return true
		}
	}
	return len(p.allow) == 0
}

// blockedModel are the blocked endpoints of the contract, for a router that
// compares as Java's String.equalsIgnoreCase does.
var blockedModel = regexp.MustCompile(`(?is)\A/((oauth|localdevauth)|email/(.*/)?[s\x{17f}]mtpap[i\x{131}\x{130}]|marketing/(.*/)?[s\x{17f}]mtp-to[k\x{212a}]en[s\x{17f}])(/|\z)`)
