package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sdk = "../../e2e/node_modules/@hubspot/api-client"

// words.txt is what wordgen makes. Where the SDK is not installed, that cannot
// be seen of the SDK's words; then its form is looked at, and the words of
// extra.txt.
func TestWordsAreGenerated(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../words.txt")
	if err != nil {
		t.Fatal(err)
	}
	header, rest, _ := strings.Cut(string(content), "\n")
	words := strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
	if !strings.HasPrefix(header, "# Made by wordgen from the paths in @hubspot/api-client ") {
		t.Errorf("words.txt begins with %q", header)
	}
	if again, err := wordsOf(words); err != nil || !slices.Equal(again, words) {
		t.Errorf("words.txt is not sorted, or has what is not a word: %v", err)
	}
	more, err := wordsOf(extraPaths())
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range more {
		if _, found := slices.BinarySearch(words, word); !found {
			t.Errorf("%q of extra.txt is not in words.txt; run go generate ./internal/audit", word)
		}
	}
	want, err := wordList(sdk)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Log("the SDK is not installed: the words that come from it were not compared")
	case err != nil:
		t.Error(err)
	case want != string(content):
		t.Error("words.txt is not what wordgen makes; run go generate ./internal/audit")
	}
}

// Whatever the SDK has learnt need not be in extra.txt any more.
func TestExtraHasOnlyWhatTheSDKLacks(t *testing.T) {
	t.Parallel()
	paths, err := sdkPaths(sdk)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the SDK is not installed: npm ci in internal/e2e does it")
	}
	if err != nil {
		t.Fatal(err)
	}
	known, err := wordsOf(paths)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(extra) {
		if strings.HasPrefix(line, "#") || line == "\n" {
			continue
		}
		words, err := wordsOf(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(words, func(word string) bool { return !slices.Contains(known, word) }) {
			t.Errorf("the SDK has all words of %q", line)
		}
	}
}

// fakeSDK is a folder like the SDK's with one class.
func fakeSDK(t *testing.T, class string) string {
	t.Helper()
	folder := t.TempDir()
	apis := filepath.Join(folder, "lib", "codegen", "crm", "apis")
	if err := os.MkdirAll(apis, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		filepath.Join(folder, "package.json"): `{"version":"1.2.3"}`,
		filepath.Join(apis, "BasicApi.js"):    class,
		filepath.Join(apis, "other.js"):       `const localVarPath = '/not/read';`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestWordList(t *testing.T) {
	t.Parallel()
	list, err := wordList(fakeSDK(t, `
            const localVarPath = '/crm/v3/zebras/{objectId}/2026-09-beta'
                .replace('{' + 'objectId' + '}', encodeURIComponent(String(objectId)));
            const localVarPath = '/crm/v3/zebras';`))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	if !strings.Contains(lines[0], "@hubspot/api-client 1.2.3 ") || lines[len(lines)-1] != "zebras" || !slices.Contains(lines, "webhooks-journal") {
		t.Errorf("list: %s", list)
	}
	for _, not := range []string{"", "v3", "{objectId}", "2026-09-beta", "not", "read"} {
		if slices.Contains(lines, not) {
			t.Errorf("%q is in the list", not)
		}
	}
}

// A change in the SDK's form is not taken for fewer words.
func TestWordListRefuses(t *testing.T) {
	t.Parallel()
	for name, folder := range map[string]string{
		"no SDK":       t.TempDir(),
		"no path":      fakeSDK(t, "const path = `/crm`;"),
		"what is that": fakeSDK(t, `const localVarPath = '/crm/v3/jane@example.com';`),
	} {
		if list, err := wordList(folder); err == nil {
			t.Errorf("%s: %s", name, list)
		}
	}
}
