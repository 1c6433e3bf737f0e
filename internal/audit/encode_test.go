package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"
)

// jsonLine is the line that encoding/json makes, as all lines once were.
func jsonLine(h Head, e Entry) string {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	content, _ := json.Marshal(Line{Seq: h.Seq + 1, Prev: h.prev(), Entry: e})
	content = bytes.TrimSuffix(content, []byte("}"))
	return string(content) + hashPrefix + hashOf(content) + hashSuffix + "\n"
}

// Every field that encoding/json writes is written: one that is added to Entry
// and forgotten in appendFields fails here.
func TestEveryFieldIsWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	head := Head{Seq: 41, Hash: hashOf(nil)}
	check := func(e Entry) {
		t.Helper()
		if got, _ := head.appendLine(nil, e); string(got) != jsonLine(head, e) {
			t.Errorf("%s, want\n%s", got, jsonLine(head, e))
		}
	}
	var e Entry
	check(e)
	all := reflect.ValueOf(&e).Elem()
	for i := range all.NumField() {
		if all.Type().Field(i).Tag.Get("json") == "-" {
			continue
		}
		switch field := all.Field(i); field.Kind() {
		case reflect.String:
			field.SetString("text")
		case reflect.Int, reflect.Int64:
			field.SetInt(int64(-i))
		case reflect.Uint64:
			field.SetUint(1<<64 - 1)
		case reflect.Pointer:
			field.Set(reflect.ValueOf(&Torn{Bytes: 1, SHA256: "2"}))
		default:
			field.Set(reflect.ValueOf(at))
		}
		check(e)
	}
}

// FuzzLine holds that a line has the bytes that encoding/json gives it, and
// that what is in it can be read again.
func FuzzLine(f *testing.F) {
	f.Add("crm-sync", "/crm/v3/{id}", int64(4711), int64(1788264000123), uint64(0), 0)
	f.Add("<a&b> \"é\\", "\x00\x1f\x7f\x80\xff\u2028\u2029\ufffd", int64(-1), int64(-1), uint64(1), 1)
	f.Add("a&b", "<", int64(1), int64(1), uint64(1), 1)
	f.Add(`"`, ">", int64(1), int64(1), uint64(1), 1)
	f.Add("\\", "é", int64(1), int64(1), uint64(1), 1)
	f.Add("\b\f\n\r\t", "日本\U0001f600", int64(0), int64(1500), uint64(1<<63), 2)
	f.Fuzz(func(t *testing.T, text, other string, number, milli int64, seq uint64, how int) {
		at := time.UnixMilli(milli).Add(time.Duration(number)).In(time.FixedZone("", how%10000))
		if year := at.UTC().Year(); year < 0 || year > 9999 {
			// No time in JSON; the clock of no process shows it.
			return
		}
		e := Entry{Time: at, Kind: Kind(text), App: other, Caller: text, TokenID: other, UserTag: text, Portal: number, Method: other,
			Path: other, Status: how, Error: text, CorrelationID: other, Tries: -how, Lost: seq}
		if how%2 == 0 {
			e.Torn = &Torn{Bytes: number, SHA256: text}
		}
		head := Head{Seq: seq, Hash: hashOf([]byte(text))}
		line, next := head.appendLine([]byte(other), e)
		line = line[len(other):]
		if want := jsonLine(head, e); string(line) != want {
			t.Fatalf("%q, want\n%q", line, want)
		}
		got, ok := parseLine(line[:len(line)-1])
		if next.Seq == 0 {
			return
		}
		if !ok || got.head() != next || !got.follows(head) && seq > 0 {
			t.Fatalf("%q is read as %+v", line, got)
		}
		e.Time = at.UTC().Truncate(time.Millisecond)
		if utf8.ValidString(text) && utf8.ValidString(other) && !reflect.DeepEqual(got.Entry, e) {
			t.Errorf("%q is read as %+v, want %+v", line, got.Entry, e)
		}
	})
}

// These lines were written when encoding/json made them.
const oldLines = `{"seq":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","time":"2026-09-01T12:00:00.12Z","kind":"file","hash":"34b608b134c488b10f093beef205805032d07cfbceb10099927069b351e085dc"}
{"seq":2,"prev":"34b608b134c488b10f093beef205805032d07cfbceb10099927069b351e085dc","time":"2026-09-01T12:00:01.12Z","kind":"call","app":"hbdev","caller":"crm \"sync\" \u003ca\u0026b\u003e é \u2028","tokenId":"0000000042","userTag":"0123456789ab","portal":4711,"method":"GET","path":"/crm/objects/2026-09/contacts/{id}","status":200,"error":"rate_limited","correlationId":"a43683b0-5717-4ceb-80b4-104d02915d8c","tries":1,"hash":"96ebba7beb9b3149c958f8e58f216ec6e341132b4870e88df0f09d4f7d4293fa"}
{"seq":3
{"seq":3,"prev":"96ebba7beb9b3149c958f8e58f216ec6e341132b4870e88df0f09d4f7d4293fa","time":"2026-09-01T12:00:00.12Z","kind":"torn","torn":{"bytes":8,"sha256":"6e88111ddc0e883cd4c0d4ee0714881da8e4f5a2dd6e5382ed2c5637c30de98b"},"hash":"32b08471efac06636eda2691996ec49f737437b7933bfb20aaf9be3194041dcb"}
{"seq":4,"prev":"32b08471efac06636eda2691996ec49f737437b7933bfb20aaf9be3194041dcb","time":"2026-09-01T12:00:00.12Z","kind":"lost","lost":7,"hash":"fc59c32cf842c6ac64d953f10d094210fef2824c5919129a0ff053b8b066f772"}
`

// A log of before verifies, is gone on with, and its lines are those that are
// written today.
func TestOldLines(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	writeFile(t, path, oldLines)
	l := openTestLog(t, path)
	l.Record(call("crm-sync"))
	l.close()
	if report, _ := verified(t, path, VerifyOptions{From: 1, Head: l.Head().Hash}); report.Torn != 1 || report.Lost != 7 {
		t.Errorf("report %+v", report)
	}
	var again []byte
	var head Head
	for _, raw := range bytes.SplitAfter([]byte(oldLines), []byte("\n")) {
		line, ok := parseLine(bytes.TrimSuffix(raw, []byte("\n")))
		if !ok {
			again = append(again, raw...)
			continue
		}
		again, head = head.appendLine(again, line.Entry)
	}
	if string(again) != oldLines {
		t.Errorf("written today:\n%s", again)
	}
}
