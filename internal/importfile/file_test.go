package importfile_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-hubspot/caddy-hubspot/internal/importfile"
)

const planted = "na1-planted-refresh-token"

// read returns what a file has, one text an item: the line, and the user and
// tokens or what is wrong.
func read(t *testing.T, format importfile.Format, file string) []string {
	t.Helper()
	reader, err := importfile.NewReader(strings.NewReader(file), format)
	if err != nil {
		return []string{"file: " + err.Error()}
	}
	var out []string
	for {
		item, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			return append(out, "end: "+err.Error())
		}
		text := strconv.Itoa(item.Line) + " "
		r := item.Record
		switch {
		case item.Err != nil:
			text += item.Err.Error()
		case item.Repeats > 0:
			text += "repeats " + strconv.Itoa(item.Repeats)
		default:
			text += r.User + " " + r.RefreshToken.Reveal() + r.Token.Reveal()
			if r.HubID != 0 {
				text += " " + strconv.FormatInt(r.HubID, 10)
			}
			if !r.AccessToken.IsZero() {
				text += " " + r.AccessToken.Reveal()
			}
			if !r.ExpiresAt.IsZero() {
				text += " " + r.ExpiresAt.UTC().Format(time.RFC3339)
			}
			if len(r.Scopes) > 0 {
				text += " [" + strings.Join(r.Scopes, " ") + "]"
			}
		}
		out = append(out, text)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	const good = `{"userForeignIdentifier":"acme","refreshToken":"r1"}`
	for name, tt := range map[string]struct {
		format importfile.Format
		file   string
		want   []string
	}{
		"all fields": {importfile.JSONLines,
			`{"userForeignIdentifier":"a b","refreshToken":"r1","accessToken":"a1","expiresAt":"2026-11-28T10:00:00+01:00","hubId":62515,"scopes":["oauth","x"]}`,
			[]string{"1 a b r1 62515 a1 2026-11-28T09:00:00Z [oauth x]"}},
		"static": {importfile.JSONLines, `{"userForeignIdentifier":"acme","token":"pat-na1-1","hubId":7}`, []string{"1 acme pat-na1-1 7"}},
		"mark, Windows, blank lines, no last line feed": {importfile.JSONLines, "\xef\xbb\xbf" + good + "\r\n\r\n  \n" + strings.Replace(good, "acme", "b", 1),
			[]string{"1 acme r1", "4 b r1"}},
		"null is not there": {importfile.JSONLines, `{"userForeignIdentifier":"acme","refreshToken":"r1","hubId":null,"scopes":null,"accessToken":null}`, []string{"1 acme r1"}},
		"broken lines, and the rest goes on": {importfile.JSONLines, strings.Join([]string{
			`{"userForeignIdentifier":"acme","refreshToken":"` + planted + `"`, `[]`, good + good, good + ` x`,
			`{"userForeignIdentifier":"acme","refreshtoken":"` + planted + `"}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","refreshToken":"` + planted + `"}`,
			`{"refreshToken":"` + planted + `"}`, `{"userForeignIdentifier":"acme"}`,
			`{"userForeignIdentifier":"acme","refreshToken":"` + planted + ` "}`,
			`{"userForeignIdentifier":"acme","refreshToken":7}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","hubId":"7"}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","hubId":7.0}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","hubId":-7}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","scopes":"oauth x"}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","scopes":["oauth x"]}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","expiresAt":1764320400}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","expiresAt":"tomorrow"}`,
			`{"userForeignIdentifier":"acme","refreshToken":"r","token":"` + planted + `"}`,
			`{"userForeignIdentifier":"a\u0007b","refreshToken":"r"}`,
			`{"userForeignIdentifier":"a\ud800b","refreshToken":"r"}`,
			"{\"userForeignIdentifier\":\"a\xffb\",\"refreshToken\":\"r\"}",
			good,
		}, "\n"), []string{
			"1 is not valid JSON", "2 has to be a JSON object", "3 is not valid JSON", "4 is not valid JSON",
			`5 has the unknown field "refreshtoken"; there are userForeignIdentifier, refreshToken, accessToken, expiresAt, hubId, scopes, token`,
			`6 has "refreshToken" twice`, "7 userForeignIdentifier: is missing",
			"8 refreshToken: is missing (or, for a static app, token)",
			"9 refreshToken: holds what no token of HubSpot's does: a space, a control or a non-ASCII character, or more than 8 KiB",
			"10 refreshToken: has to be a text",
			"11 hubId: is not the number of a HubSpot account", "12 hubId: is not the number of a HubSpot account", "13 hubId: is not the number of a HubSpot account",
			"14 scopes: has to be a list of texts",
			"15 scopes: holds what no scope does: a space, a control or a non-ASCII character, or nothing",
			"16 expiresAt: has to be a text", "17 expiresAt: is not a time such as 2026-11-28T09:30:00Z",
			"18 token: is given beside the tokens of an OAuth grant; a connection has one or the other",
			"19 userForeignIdentifier: the user identifier holds a control character",
			"20 userForeignIdentifier: holds U+FFFD, which stands for text that was damaged",
			"21 is not UTF-8", "22 acme r1",
		}},
		"huge lines": {importfile.JSONLines, strings.Repeat("x", 3<<20) + "\n" + good + "\n" + strings.Repeat(`"`, 2<<20),
			[]string{"1 is longer than 1 MiB", "2 acme r1", "3 is longer than 1 MiB"}},
		"a user twice": {importfile.JSONLines, good + "\n" + `{"refreshToken":"r1","userForeignIdentifier":"acme"}` + "\n" + strings.Replace(good, "r1", "r2", 1),
			[]string{"1 acme r1", "2 repeats 1", "3 userForeignIdentifier: is on line 1 already, with other values"}},
		"csv": {importfile.CSV, "\xef\xbb\xbfuserForeignIdentifier,refreshToken,hubId,scopes,expiresAt,accessToken\r\n" +
			"\"Smith, \"\"Joe\"\"\",r1,7,oauth crm.objects.contacts.read,,\r\n" +
			"b,\"r2,,,,\n" + "c,r3,,,,\n" + "d,r4\n" + "e,r\"5,,,,\n" + "f,\"r6\"x,,,,\n" + "g,r7,x,,,\n",
			[]string{
				`2 Smith, "Joe" r1 7 [oauth crm.objects.contacts.read]`, "3 has a quote that is not closed on its line, or something behind a closed one",
				"4 c r3", "5 has 2 values for 6 columns", "6 has a quote in a value that does not begin with one",
				"7 has a quote that is not closed on its line, or something behind a closed one", "8 hubId: is not the number of a HubSpot account",
			}},
		"csv without names":     {importfile.CSV, "acme," + planted, []string{`file: line 1, the names of the columns: "acme" is none; there are userForeignIdentifier, refreshToken, accessToken, expiresAt, hubId, scopes, token`}},
		"csv of nothing":        {importfile.CSV, "", []string{"file: the file is empty; its first line has to name the columns, as in: userForeignIdentifier,refreshToken,hubId"}},
		"csv with a name twice": {importfile.CSV, "userForeignIdentifier,token,token\n", []string{"file: line 1, the names of the columns: token is there twice"}},
		"nango, an array": {importfile.Nango, "\n [ {\"connection_id\":\"a\",\"provider\":\"hubspot\",\"id\":1,\"metadata\":{\"x\":\"}]\\\"\"},\n\"credentials\":{\"type\":\"OAUTH2\",\"refresh_token\":\"r1\",\"access_token\":\"a1\",\"expires_at\":\"2026-11-28T09:00:00.000Z\",\"raw\":{\"hub_id\":7,\"scopes\":[\"oauth\"]}}}\n," +
			"\n{\"connection_id\":\"b\",\"provider\":\"slack\",\"credentials\":{\"refresh_token\":\"" + planted + "\"}},{\"connection_id\":\"c\",\"credentials\":{}}]\n",
			[]string{"2 a r1 7 a1 2026-11-28T09:00:00Z [oauth]", "5 provider: is not hubspot", "5 credentials.refresh_token: is missing (or, for a static app, token)"}},
		"nango, lines":             {importfile.Nango, "\n" + `{"connection_id":"a","credentials":{"refresh_token":"r1"}}` + "\n" + `{"connection_id":"p","provider":"hubspot-private","credentials":{"type":"API_KEY","apiKey":"pat-1"}}`, []string{"2 a r1", "3 p pat-1"}},
		"nango, nothing":           {importfile.Nango, " \n", nil},
		"nango, an empty array":    {importfile.Nango, " [ ] ", nil},
		"nango, a cut array":       {importfile.Nango, `[{"connection_id":"a","credentials":{"refresh_token":"r1"}},{"conn`, []string{"1 a r1", "end: reading file: unexpected EOF"}},
		"nango, more behind":       {importfile.Nango, `[] {}`, []string{"end: reading file: there is something behind the end of the array"}},
		"nango, commas":            {importfile.Nango, `[{},]`, []string{"1 connection_id: is missing", "end: reading file: the file is not a JSON array: what comes now cannot be read"}},
		"nango, something between": {importfile.Nango, `[{} {}]`, []string{"1 connection_id: is missing", "end: reading file: the file is not a JSON array: what comes now cannot be read"}},
		"nango, wrong kinds":       {importfile.Nango, `[{"connection_id":7}]`, []string{"1 connection_id: is not what Nango has there"}},
		"another format":           {"xml", "", []string{`file: there is no format "xml"; use jsonl, csv or nango`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := read(t, tt.format, tt.file)
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if strings.Contains(strings.Join(got, "\n"), planted) {
				t.Error("a token stands in an error")
			}
		})
	}
}

// What is encoded is read again as it was, and the result is one line.
func TestEncoding(t *testing.T) {
	t.Parallel()
	const line = `{"userForeignIdentifier":"<é>&\"\n","refreshToken":"r1","accessToken":"a1","expiresAt":"2026-11-28T09:00:00Z","hubId":7,"scopes":["oauth"]}`
	r, err := importfile.ParseJSON([]byte(strings.Replace(line, `\n`, "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.MarshalJSON()
	if err != nil || string(got) != strings.Replace(line, `\n`, "", 1) {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add("jsonl", `{"userForeignIdentifier":"a","refreshToken":"r"}`)
	f.Add("csv", "userForeignIdentifier,token\n\"a\",b\n")
	f.Add("nango", `[{"connection_id":"a"},{}]`)
	f.Fuzz(func(t *testing.T, format, file string) {
		reader, err := importfile.NewReader(strings.NewReader(file), importfile.Format(format))
		if err != nil {
			return
		}
		for last := 0; ; {
			item, err := reader.Next()
			if err != nil {
				return
			}
			if item.Line < last || item.Line > strings.Count(file, "\n")+1 {
				t.Fatalf("line %d after %d", item.Line, last)
			}
			last = item.Line
		}
	})
}
