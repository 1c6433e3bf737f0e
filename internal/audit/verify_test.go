package audit

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func verifyText(t *testing.T, text string, o VerifyOptions) Report {
	t.Helper()
	v := &verifier{options: o}
	err := v.follow("audit.jsonl", func(yield func(piece, error) bool) {
		if err := readPieces(strings.NewReader(text), func(p piece) bool { return yield(p, nil) }); err != nil {
			yield(piece{}, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	v.finish()
	return v.report
}

func TestVerifyIntact(t *testing.T) {
	text, head := sample(4)
	got := verifyText(t, text, VerifyOptions{Head: head.Hash, From: 1})
	if got.Break != nil || got.Lines != 6 || got.First != 1 || got.Last != 6 || got.Head != head || got.LastTime.Sub(got.FirstTime) != 3*time.Minute {
		t.Errorf("report: %+v, %v", got, got.Break)
	}
}

// Every kind of tampering is found at the right line and called by its name.
//
// A line that was put in, also one that stands there a second time, is called
// changed, as it had a verdict of its own once: what stands in its place is not
// what was written there, and nothing else is to be done about it. Lines that
// were swapped are called removed: where the first of the two should be, it is
// missing. A log without lines is called cut: all of it was cut off.
func TestVerifyFindsTampering(t *testing.T) {
	text, head := sample(5)
	lines := linesOf(text)
	join := func(lines ...string) string { return strings.TrimSuffix(strings.Join(lines, ""), "\n") + "\n" }
	without := func(i int) string { return join(slices.Delete(slices.Clone(lines), i, i+1)...) }
	with := func(i int, line string) string { return join(slices.Insert(slices.Clone(lines), i, line)...) }
	swapped := func(i, j int) string {
		other := slices.Clone(lines)
		other[i], other[j] = strings.TrimSuffix(other[j], "\n")+"\n", strings.TrimSuffix(other[i], "\n")+"\n"
		return join(other...)
	}
	// forged is line i with another caller and a hash to match.
	forged := func(i int) string {
		line, ok := parseLine([]byte(strings.TrimSuffix(lines[i], "\n")))
		if !ok {
			t.Fatal("the sample has no lines")
		}
		line.Caller = "somebody-else"
		out, _ := Head{Seq: line.Seq - 1, Hash: line.Prev}.appendLine(nil, line.Entry)
		return string(out)
	}
	changed := func(i int, line string) string {
		other := slices.Clone(lines)
		other[i] = line
		return join(other...)
	}
	// orphan is a first line of all that has a line before it.
	orphan := `{"seq":1,"prev":"` + head.Hash + `","time":"2026-09-01T12:00:00Z","kind":"file"`
	orphan += hashPrefix + hashOf([]byte(orphan)) + hashSuffix + "\n"
	for _, tc := range []struct {
		name, text string
		options    VerifyOptions
		problem    Problem
		number     uint64
	}{
		{"a field changed", strings.Replace(text, "caller-b", "caller-x", 1), VerifyOptions{}, Changed, 4},
		{"a field changed in the last line", strings.Replace(text, "caller-e", "caller-x", 1), VerifyOptions{}, Changed, 7},
		{"a field changed in the first line", strings.Replace(text, `"kind":"file"`, `"kind":"fil"`, 1), VerifyOptions{}, Changed, 1},
		{"a hash changed with it", changed(3, forged(3)), VerifyOptions{}, Changed, 4},
		{"the last line written anew", changed(6, forged(6)), VerifyOptions{Head: head.Hash}, Cut, 0},
		{"a line emptied", changed(3, "\n"), VerifyOptions{}, Changed, 4},
		{"a line removed", without(3), VerifyOptions{}, Removed, 4},
		{"the first line removed", without(0), VerifyOptions{}, Removed, 1},
		{"the beginning removed", join(lines[3:]...), VerifyOptions{}, Removed, 1},
		{"several lines removed", join(append(slices.Clone(lines[:2]), lines[5:]...)...), VerifyOptions{}, Removed, 3},
		{"the last line removed", without(6), VerifyOptions{Head: head.Hash}, Cut, 0},
		{"a line twice", with(4, lines[3]), VerifyOptions{}, Changed, 5},
		{"an old line again", with(5, lines[2]), VerifyOptions{}, Changed, 6},
		{"a line inserted", with(4, "{}\n"), VerifyOptions{}, Changed, 5},
		{"an empty line inserted", with(4, "\n"), VerifyOptions{}, Changed, 5},
		{"a forged line inserted", with(4, forged(4)), VerifyOptions{}, Changed, 6},
		{"a long line inserted", with(4, strings.Repeat("x", 3*maxLine)+"\n"), VerifyOptions{}, Changed, 5},
		{"two lines swapped", swapped(3, 4), VerifyOptions{}, Removed, 4},
		{"the last lines swapped", swapped(5, 6), VerifyOptions{}, Removed, 6},
		{"the first lines swapped", swapped(0, 1), VerifyOptions{}, Removed, 1},
		{"lines far apart swapped", swapped(2, 6), VerifyOptions{}, Removed, 3},
		{"the end torn", text[:len(text)-20], VerifyOptions{}, Unfinished, 7},
		{"the last line feed removed", text[:len(text)-1], VerifyOptions{}, Unfinished, 7},
		{"another first line", changed(0, orphan), VerifyOptions{}, Changed, 1},
		{"a line put in before a torn end", text + "{}\n" + lines[3][:50], VerifyOptions{}, Changed, 8},
		{"a line put in at the end", text + "{}\n", VerifyOptions{}, Changed, 8},
		{"a long line torn", text + strings.Repeat("x", 3*maxLine), VerifyOptions{}, Unfinished, 8},
		{"a line torn in the middle", strings.Replace(text, lines[3], lines[3][:50]+"\n", 1), VerifyOptions{}, Changed, 4},
		{"a carriage return", strings.Replace(text, "\n", "\r\n", 1), VerifyOptions{}, Changed, 1},
		{"nothing left", "", VerifyOptions{}, Cut, 0},
		{"the beginning in another file", text, VerifyOptions{From: 1}, "", 0},
		{"another log", text, VerifyOptions{Head: zeroHash}, Cut, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := verifyText(t, tc.text, tc.options).Break
			switch {
			case got == nil && tc.problem != "":
				t.Errorf("found nothing, want %s in line %d", tc.problem, tc.number)
			case got != nil && (got.Problem != tc.problem || got.Number != tc.number || got.Detail == ""):
				t.Errorf("found %v, want %s in line %d", got, tc.problem, tc.number)
			}
		})
	}
}

// No byte of a log can be another one, and none can be missing or added.
func TestVerifyFindsEveryByte(t *testing.T) {
	text, head := sample(1)
	for i := range len(text) {
		for name, other := range map[string]string{
			"changed": text[:i] + string(text[i]^1) + text[i+1:],
			"removed": text[:i] + text[i+1:],
			"added":   text[:i] + "0" + text[i:],
			"doubled": text[:i] + text[i:i+1] + text[i:],
		} {
			if got := verifyText(t, other, VerifyOptions{Head: head.Hash}); got.Break == nil {
				t.Fatalf("byte %d %s: found nothing", i, name)
			}
		}
	}
}

// FuzzTampering cuts a log at three places and puts the parts together in
// another way, with other bytes in between.
func FuzzTampering(f *testing.F) {
	text, head := sample(6)
	f.Add(uint16(100), uint16(300), uint16(700), uint8(0), []byte("x"))
	f.Add(uint16(0), uint16(300), uint16(0), uint8(1), []byte{})
	f.Add(uint16(500), uint16(501), uint16(502), uint8(2), []byte("\n"))
	f.Add(uint16(500), uint16(900), uint16(1200), uint8(3), []byte("{}\n"))
	f.Fuzz(func(t *testing.T, a, b, c uint16, how uint8, more []byte) {
		cuts := []int{int(a) % (len(text) + 1), int(b) % (len(text) + 1), int(c) % (len(text) + 1)}
		slices.Sort(cuts)
		first, second, third, fourth := text[:cuts[0]], text[cuts[0]:cuts[1]], text[cuts[1]:cuts[2]], text[cuts[2]:]
		other := map[uint8]string{
			0: first + string(more) + second + third + fourth,
			1: first + string(more) + third + fourth,
			2: first + third + second + fourth,
			3: first + second + third + second + fourth,
		}[how%4]
		report := verifyText(t, other, VerifyOptions{Head: head.Hash, From: 1})
		if intact := report.Break == nil; intact != (other == text) {
			t.Errorf("intact: %v, %v", intact, report.Break)
		}
	})
}

func TestVerifySeveralFiles(t *testing.T) {
	path := testPath(t)
	l := openTestLog(t, path, func(o *Options) { o.Limits = func() Limits { return Limits{RollSize: 1000} } })
	for range 20 {
		l.Record(call("crm-sync"))
	}
	l.close()
	files, err := Rolled(path)
	if err != nil || len(files) < 2 {
		// One batch may hold them all; what follows needs three files.
		for len(files) < 2 {
			l = openTestLog(t, path, func(o *Options) { o.Limits = func() Limits { return Limits{RollSize: 1000} } })
			l.Record(call("crm-sync"))
			l.close()
			if files, err = Rolled(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	files = append(files, path)
	slices.Reverse(files)
	verify := func(files []string, o VerifyOptions) *Break {
		t.Helper()
		report, err := Verify(files, o)
		if err != nil {
			t.Fatal(err)
		}
		return report.Break
	}
	if got := verify(files, VerifyOptions{From: 1, Head: l.Head().Hash}); got != nil {
		t.Errorf("all files, the newest first: %v", got)
	}
	if got := verify(append(files, path), VerifyOptions{}); got != nil {
		t.Errorf("one file named twice: %v", got)
	}
	oldest := len(files) - 1
	if got := verify(files[:oldest], VerifyOptions{}); got != nil {
		t.Errorf("without the oldest: %v", got)
	}
	if got := verify(files[:oldest], VerifyOptions{From: 1}); got == nil || got.Problem != Cut {
		t.Errorf("without the oldest, from line 1: %v", got)
	}
	between := append([]string{files[0]}, files[2:]...)
	if got := verify(between, VerifyOptions{}); got == nil || got.Problem != Removed || got.File != path || got.Number != 1 {
		t.Errorf("without one in between: %v", got)
	}
	if got := verify(files[1:], VerifyOptions{Head: l.Head().Hash}); got == nil || got.Problem != Cut {
		t.Errorf("without the newest: %v", got)
	}
	if _, err := Verify([]string{filepath.Join(t.TempDir(), "none")}, VerifyOptions{}); err == nil {
		t.Error("a file that is not there was verified")
	}
}

// A line that a crash has torn is accepted because the line after it speaks
// of it, and only as it was.
func TestVerifyTornEvidence(t *testing.T) {
	text, head := sample(3)
	torn := `{"seq":6,"prev":"` + head.Hash[:20]
	out, _ := head.appendLine([]byte(text+torn+"\n"), Entry{Kind: KindTorn, Torn: &Torn{Bytes: int64(len(torn)), SHA256: hashOf([]byte(torn))}})
	marked := string(out)
	if got := verifyText(t, marked, VerifyOptions{Head: head.Hash}); got.Break != nil || got.Torn != 1 {
		t.Errorf("marked: %v, %d torn", got.Break, got.Torn)
	}
	for name, other := range map[string]string{
		"changed":     strings.Replace(marked, torn, strings.Replace(torn, "prev", "next", 1), 1),
		"shortened":   strings.Replace(marked, torn, torn[:len(torn)-1], 1),
		"removed":     strings.Replace(marked, torn+"\n", "", 1),
		"lengthened":  strings.Replace(marked, torn, torn+"\n", 1),
		"another one": strings.Replace(marked, "caller-b", "caller-x", 1),
	} {
		if got := verifyText(t, other, VerifyOptions{}); got.Break == nil || got.Break.Problem != Changed {
			t.Errorf("%s: %v", name, got.Break)
		}
	}
}

func TestFilter(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	line := Line{Entry: Entry{Kind: KindCall, Time: at, App: "hbdev", Caller: "crm-sync", UserTag: "0123456789ab"}}
	for _, tc := range []struct {
		name   string
		filter Filter
		want   bool
	}{
		{"all", Filter{}, true},
		{"the app", Filter{App: "hbdev"}, true},
		{"another app", Filter{App: "other"}, false},
		{"another caller", Filter{Caller: "other"}, false},
		{"the user", Filter{Users: []User{{App: "other", Tag: "0123456789ab"}, {App: "hbdev", Tag: "0123456789ab"}}}, true},
		{"the tag in another app", Filter{Users: []User{{App: "other", Tag: "0123456789ab"}}}, false},
		{"the tag in any app", Filter{Users: []User{{Tag: "0123456789ab"}}}, true},
		{"another user", Filter{Users: []User{{App: "hbdev", Tag: "ba9876543210"}}}, false},
		{"since then", Filter{Since: at}, true},
		{"since later", Filter{Since: at.Add(1)}, false},
		{"until then", Filter{Until: at}, false},
		{"until later", Filter{Until: at.Add(1)}, true},
	} {
		if got := tc.filter.Match(line); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	line.Kind = KindStart
	if (Filter{}).Match(line) {
		t.Error("a line about the log itself was chosen")
	}
}
