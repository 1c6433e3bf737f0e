package relay

import (
	"io"
	"strings"
)

// What tests of package relay_test know of the inside.
const (
	MaxKept     = maxKept
	MaxPeek     = maxPeek
	MaxEnvelope = maxEnvelope
)

// Decode undoes content codings and reads what comes of it.
func Decode(codings []string, data *strings.Reader, most int64) (string, error) {
	text, _ := decode(codings, data, most)
	all, err := io.ReadAll(text)
	return string(all), err
}
