package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Kind says what a line is about.
type Kind string

// The kinds of lines.
const (
	// KindCall is a call to HubSpot's API, sent or refused.
	KindCall Kind = "call"
	// KindLink, KindList, KindShow and KindDisconnect are what a caller
	// asked of the endpoints for connections.
	KindLink       Kind = "link"
	KindList       Kind = "list"
	KindShow       Kind = "show"
	KindDisconnect Kind = "disconnect"
	// KindAdminDisconnect is the end of a connection by Caddy's admin API.
	KindAdminDisconnect Kind = "admin_disconnect"
	// KindInstall is an install that a browser has brought back, done or failed.
	KindInstall Kind = "install"
	// KindToken is a request for a user token.
	KindToken Kind = "token"
	// KindImport is an operator's import of a connection that was made
	// elsewhere.
	KindImport Kind = "import"
	// KindExport is an operator's export of all connections of an app.
	KindExport Kind = "export"
	// KindFile is the first line of every file. Its prev is the hash of the
	// last line of the file before it.
	KindFile Kind = "file"
	// KindStart and KindStop are the beginning and the orderly end of a
	// process's part of the log.
	KindStart Kind = "start"
	KindStop  Kind = "stop"
	// KindLost stands for lines that could not be written.
	KindLost Kind = "lost"
	// KindTorn follows bytes that a crash left behind.
	KindTorn Kind = "torn"
)

// Entry is what a line says. A field that does not apply is left out of the
// line. A new field needs its place here and in appendFields: readers pass over
// those that they do not know, and the hash is over the bytes.
type Entry struct {
	// Time is when the answer was complete, in UTC and milliseconds. Lines
	// stand in the order in which they were written, so that it may go back
	// by a little.
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`
	// App is the HubSpot app's name in lower case.
	App string `json:"app,omitempty"`
	// Caller is the caller's name, none if its key was not given or wrong.
	Caller string `json:"caller,omitempty"`
	// TokenID is the id of the user token that was used, or issued.
	TokenID string `json:"tokenId,omitempty"`
	// As is app for a call that the app made for itself, with a token of its
	// own: there is no user and no portal.
	As string `json:"as,omitempty"`
	// UserTag stands for the user; see [Entry].User.
	UserTag string `json:"userTag,omitempty"`
	// Portal is the HubSpot account, if a token for it was found.
	Portal int64 `json:"portal,omitempty"`
	// Method is one of [Method], and Path a [Template]. They are those of
	// the call to HubSpot, also where that came in an envelope.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Status is that of the answer; none if there was no answer.
	Status int `json:"status,omitempty"`
	// Error is the kind of an answer that was the sidecar's own, or why
	// there was none.
	Error string `json:"error,omitempty"`
	// CorrelationID is HubSpot's, or the sidecar's in an answer of its own.
	CorrelationID string `json:"correlationId,omitempty"`
	// Tries is how often HubSpot was asked.
	Tries int `json:"tries,omitempty"`
	// ServedBy is the app whose connection has served the call instead of the
	// user's own, which HubSpot has refused for the kind of its token, and
	// ServedTag the tag of that connection's user.
	ServedBy  string `json:"servedBy,omitempty"`
	ServedTag string `json:"servedTag,omitempty"`
	// Lost is the number of lines that a line of [KindLost] stands for.
	Lost uint64 `json:"lost,omitempty"`
	// Torn is what a line of [KindTorn] follows.
	Torn *Torn `json:"torn,omitempty"`

	// User and Tagger give UserTag if that is empty. They are not written.
	User   string `json:"-"`
	Tagger Tagger `json:"-"`
}

// Torn describes bytes that are no line.
type Torn struct {
	Bytes int64 `json:"bytes"`
	// SHA256 is the hash of the bytes in lowercase hex.
	SHA256 string `json:"sha256"`
}

// Tagger gives users the opaque tags that stand for them in logs.
type Tagger interface {
	// Tag returns the user's tag, or [UnknownTag] if it cannot be found
	// before ctx ends. With a ctx that has ended it returns what it knows
	// without asking anybody.
	Tag(ctx context.Context, user string) string
}

// UnknownTag stands for a user whose tag could not be found.
const UnknownTag = "unknown"

// Line is a line of the log.
type Line struct {
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"`
	Entry
	// Hash is the last field of every line.
	Hash string `json:"hash,omitempty"`
}

// Head is the number and the hash of a log's last line. The zero value is
// that of a log without lines.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// zeroHash is the prev of the first line of all.
var zeroHash = strings.Repeat("0", hashLength)

const (
	hashLength = 2 * sha256.Size
	hashPrefix = `,"hash":"`
	hashSuffix = `"}`
	// lineBegin is how every line begins.
	lineBegin = `{"seq":`
	// maxLine is more than any line has.
	maxLine = 64 << 10
)

// prev is what the next line's Prev has to be.
func (h Head) prev() string {
	if h.Seq == 0 {
		return zeroHash
	}
	return h.Hash
}

// appendLine appends the line that follows h, and its line feed, and returns
// the new head.
func (h Head) appendLine(to []byte, e Entry) ([]byte, Head) {
	begin := len(to)
	to = append(to, lineBegin...)
	to = strconv.AppendUint(to, h.Seq+1, 10)
	to = appendText(to, `,"prev":`, h.prev())
	to = e.appendFields(to)
	sum := sha256.Sum256(to[begin:])
	to = append(to, hashPrefix...)
	to = hex.AppendEncode(to, sum[:])
	next := Head{Seq: h.Seq + 1, Hash: string(to[len(to)-hashLength:])}
	return append(to, hashSuffix+"\n"...), next
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// parseLine reads a line, without its line feed, and reports whether it is
// one that has its own hash.
func parseLine(raw []byte) (line Line, ok bool) {
	const end = len(hashPrefix) + hashLength + len(hashSuffix)
	if len(raw) < end || !bytes.HasPrefix(raw, []byte(lineBegin)) {
		return Line{}, false
	}
	content, tail := raw[:len(raw)-end], string(raw[len(raw)-end:])
	if tail != hashPrefix+hashOf(content)+hashSuffix {
		return Line{}, false
	}
	if err := json.Unmarshal(raw, &line); err != nil || line.Seq == 0 {
		return Line{}, false
	}
	return line, true
}

// head is the head of a log that ends with the line.
func (l Line) head() Head { return Head{Seq: l.Seq, Hash: l.Hash} }

// follows reports whether the line is the one after h.
func (l Line) follows(h Head) bool { return l.Seq == h.Seq+1 && l.Prev == h.prev() }
