package hubspot

import (
	"regexp"
	"strings"

	"github.com/caddy-hubspot/caddy-hubspot/internal/secret"
)

// maxMessage bounds what is kept of a message, in bytes.
const maxMessage = 200

// withheld stands for what a message said and no text may show.
const withheld = "***"

// plainWord is a word of a sentence: letters, a number, a short code like
// eu1, or a name in capitals. Tokens, secrets, addresses and URLs are longer
// or have other characters in them.
var plainWord = regexp.MustCompile(`^[("'\[]*([A-Za-z_]{1,24}|[A-Za-z]{1,20}'[a-z]{1,2}|[A-Z_]{1,48}|[0-9]{1,12}|[A-Za-z0-9]{1,8})[)"'\].,;:!?]*$`)

// cleanMessage makes a message of the other side fit for a log: its plain
// words, as many as there is room for. sent are the secrets of the request,
// which the other side may have repeated.
func cleanMessage(message string, sent []secret.Text) string {
	for _, s := range sent {
		if !s.IsZero() {
			message = strings.ReplaceAll(message, s.Reveal(), withheld)
		}
	}
	var b strings.Builder
	for word := range strings.FieldsSeq(message) {
		if !plainWord.MatchString(word) {
			word = withheld
		}
		if b.Len()+len(word) >= maxMessage {
			b.WriteString(" ...")
			break
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return b.String()
}
