package apierror

import (
	"fmt"
	"strings"
)

// Bad makes a [BadRequest] whose message is the text of err, as a sentence.
// The text is shown to the caller.
func Bad(err error) *Error { return Wrap(BadRequest, Sentence(err), err) }

// Badf is [Bad] for a text that is made as by [fmt.Errorf].
func Badf(format string, args ...any) *Error { return Bad(fmt.Errorf(format, args...)) }

// Sentence makes a sentence of an error's text: with a capital letter and a
// full stop.
func Sentence(err error) string {
	text := err.Error()
	if text == "" {
		return ""
	}
	if c := text[0]; c >= 'a' && c <= 'z' {
		text = string(c-'a'+'A') + text[1:]
	}
	return text + "."
}

// Quoted quotes what a caller sent, shortened, for a message to the caller.
func Quoted(text string) string {
	const longest = 64
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
