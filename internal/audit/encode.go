package audit

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// appendFields appends an entry's fields, each after a comma, as encoding/json
// does, which took most of a line's time; see BenchmarkLine.
func (e *Entry) appendFields(to []byte) []byte {
	to = append(to, `,"time":"`...)
	to = e.Time.UTC().Truncate(time.Millisecond).AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","kind":`...)
	to = appendString(to, string(e.Kind))
	to = appendText(to, `,"app":`, e.App)
	to = appendText(to, `,"caller":`, e.Caller)
	to = appendText(to, `,"tokenId":`, e.TokenID)
	to = appendText(to, `,"as":`, e.As)
	to = appendText(to, `,"userTag":`, e.UserTag)
	to = appendNumber(to, `,"portal":`, e.Portal)
	to = appendText(to, `,"method":`, e.Method)
	to = appendText(to, `,"path":`, e.Path)
	to = appendNumber(to, `,"status":`, int64(e.Status))
	to = appendText(to, `,"error":`, e.Error)
	to = appendText(to, `,"correlationId":`, e.CorrelationID)
	to = appendNumber(to, `,"tries":`, int64(e.Tries))
	to = appendText(to, `,"servedBy":`, e.ServedBy)
	to = appendText(to, `,"servedTag":`, e.ServedTag)
	if e.Lost > 0 {
		to = strconv.AppendUint(append(to, `,"lost":`...), e.Lost, 10)
	}
	if e.Torn != nil {
		to = strconv.AppendInt(append(to, `,"torn":{"bytes":`...), e.Torn.Bytes, 10)
		to = appendString(append(to, `,"sha256":`...), e.Torn.SHA256)
		to = append(to, '}')
	}
	return to
}

// appendText appends a field that is left out if it is empty.
func appendText(to []byte, name, value string) []byte {
	if value == "" {
		return to
	}
	return appendString(append(to, name...), value)
}

// appendNumber appends a field that is left out if it is 0.
func appendNumber(to []byte, name string, value int64) []byte {
	if value == 0 {
		return to
	}
	return strconv.AppendInt(append(to, name...), value, 10)
}

// plain are the bytes that stand in a string as they are.
var plain = func() (plain [256]bool) {
	for c := ' '; c <= '~'; c++ {
		plain[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return plain
}()

// appendString appends a JSON string. What encoding/json writes otherwise than
// it stands, which hardly any string of a line has, it is left to.
func appendString(to []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			// A string always encodes.
			encoded, _ := json.Marshal(s)
			return append(to, encoded...)
		}
	}
	to = append(to, '"')
	to = append(to, s...)
	return append(to, '"')
}
