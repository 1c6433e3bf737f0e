package access_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddy-hubspot/caddy-hubspot/internal/access"
)

// lookalikes are spellings of a character that some server takes for it.
var lookalikes = map[rune][]string{
	'i': {"%C4%B1", "%C4%B0"}, 'k': {"%E2%84%AA", "%e2%84%aa"}, 's': {"%C5%BF"},
}

// respell writes a plain path in another of the ways in which servers
// understand it.
func respell(r *rand.Rand, path string) string {
	var b strings.Builder
	b.WriteString([]string{"", "", "", "/.", "/x/..", "//h", "/x%2F..", `/x\..`, "/%2e", "/;a", "/x;/..;b", "/%252e", "/%c0%ae", "/x/%EF%BC%8E%EF%BC%8E", "/x/..%20", "/+", "/.%C2%AD"}[r.IntN(17)])
	for i, c := range path {
		switch {
		case c == '/' && i == 0:
			b.WriteByte('/')
		case c == '/':
			b.WriteString([]string{"/", "/", "//", "/./", "%2F", "%252f", "%5C", `\`, ";a=b/", "/x/../", "%c0%af", "%e0%80%af", "%EF%BC%8F", "/.;/", "%20/", "/+", "./", "%E3%80%80/"}[r.IntN(18)])
		default:
			b.WriteString(respellLetter(r, c))
		}
	}
	b.WriteString([]string{"", "", "", "/", "//", ";x", "/.", "%2F", "%3Fx", "%23x", "/x/..", "/v1", "%2fx", ".json", ".a.b", "%20.xml;x/"}[r.IntN(16)])
	return b.String()
}

func respellLetter(r *rand.Rand, c rune) string {
	switch others := lookalikes[c]; r.IntN(13) {
	case 0:
		return strings.ToUpper(string(c))
	case 1:
		return fmt.Sprintf("%%%02X", c)
	case 2:
		return fmt.Sprintf("%%25%02x", c)
	case 3:
		return fmt.Sprintf("%%%%%02x%02x", fmt.Sprintf("%02x", c)[0], fmt.Sprintf("%02x", c)[1])
	case 4:
		return fmt.Sprintf("%%%x%%%x", 0xc0|c>>6, 0x80|c&0x3f) // overlong
	case 5:
		if c > '!' && c <= '~' {
			full := string(c - '!' + '！')
			return fmt.Sprintf("%%%X%%%X%%%X", full[0], full[1], full[2])
		}
	case 6:
		if len(others) > 0 {
			return others[r.IntN(len(others))]
		}
	case 7:
		return string(c) + "%ff" // what is no UTF-8 may be dropped
	case 8:
		return string(c) + []string{"%C2%AD", "%E2%80%8B", "%EF%B8%8F"}[r.IntN(3)] // what is not seen as well
	}
	return string(c)
}

// Whatever the spelling, a blocked endpoint is blocked, or the path refused as
// one that can be read in more than one way.
func TestBlockedInEverySpelling(t *testing.T) {
	rounds := 40_000
	if testing.Short() {
		rounds = 4_000
	}
	r := rand.New(rand.NewPCG(4, 2026))
	blocked, refused := 0, 0
	for range rounds {
		path := []string{
			"/oauth/v1/token", "/oauth", "/oauth/2026-09/token/introspect", "/oauth/v2/private-apps/get/access-token-info",
			"/localdevauth/v1/auth/refresh", "/email/public/v1/smtpapi/tokens", "/marketing/v3/transactional/smtp-tokens", "/marketing/transactional/2026-09/smtp-tokens/1/password-reset",
		}[r.IntN(8)]
		spelled := respell(r, path)
		readings, err := access.Readings(spelled)
		if err != nil {
			refused++
			continue
		}
		verdict, err := access.Judge(readings, access.Blocked)
		switch {
		case err != nil:
			refused++
		case verdict:
			blocked++
		default:
			t.Errorf("%s passes as %s", path, spelled)
		}
	}
	if blocked == 0 || refused == 0 {
		t.Errorf("%d blocked, %d refused: the spellings are not what they should be", blocked, refused)
	}
}

// Names that only look like blocked ones are not.
func TestNeighboursAreNotBlocked(t *testing.T) {
	for _, path := range []string{
		"/oauthx", "/crm/oauth", "/o-auth/v1", "/email/public/v1/campaigns", "/email/smtpapix", "/marketing/v3/transactional/single-email/send",
		"/marketing/v3/transactional/smtp-tokens-x", "/crm/smtp-tokens", "/marketings/smtp-tokens", "/visitor-identification/v3/tokens/create",
		"/appinstalls/2026-09/external-install", "/files/%E3%82%AA%EF%BD%81",
	} {
		readings, err := access.Readings(path)
		if err != nil {
			t.Fatal(err)
		}
		if blocked, err := access.Judge(readings, access.Blocked); blocked || err != nil {
			t.Errorf("%s: blocked %v, %v", path, blocked, err)
		}
	}
}
