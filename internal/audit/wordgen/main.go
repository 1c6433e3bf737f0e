// Command wordgen writes the list of the words of HubSpot's API that the audit
// log shows: those of the paths in HubSpot's Node SDK, which the tests in
// internal/e2e install, and those of the paths in extra.txt.
//
//	cd internal/e2e && npm ci && cd ../.. && go generate ./internal/audit
package main

import (
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed extra.txt
var extra string

func main() {
	log.SetFlags(0)
	sdk := flag.String("sdk", "../e2e/node_modules/@hubspot/api-client", "the folder of the SDK")
	out := flag.String("out", "words.txt", "the file that is written")
	flag.Parse()
	list, err := wordList(*sdk)
	if err != nil {
		log.Fatalf("wordgen: %v", err)
	}
	if err := os.WriteFile(*out, []byte(list), 0o600); err != nil {
		log.Fatalf("wordgen: %v", err)
	}
}

// wordList is the content of words.txt.
func wordList(sdk string) (string, error) {
	version, err := sdkVersion(sdk)
	if err != nil {
		return "", err
	}
	paths, err := sdkPaths(sdk)
	if err != nil {
		return "", err
	}
	words, err := wordsOf(append(paths, extraPaths()...))
	if err != nil {
		return "", err
	}
	header := fmt.Sprintf("# Made by wordgen from the paths in @hubspot/api-client %s and in wordgen/extra.txt; do not edit.\n", version)
	return header + strings.Join(words, "\n") + "\n", nil
}

func sdkVersion(sdk string) (string, error) {
	content, err := os.ReadFile(filepath.Join(sdk, "package.json"))
	if err != nil {
		return "", fmt.Errorf("reading the SDK, which npm ci in internal/e2e installs: %w", err)
	}
	var manifest struct{ Version string }
	if err := json.Unmarshal(content, &manifest); err != nil {
		return "", fmt.Errorf("reading the SDK's package.json: %w", err)
	}
	return manifest.Version, nil
}

// sdkPath is how a generated class of the SDK begins to build a path.
var sdkPath = regexp.MustCompile(`localVarPath = '([^']*)'`)

// sdkPaths returns the paths in the SDK's generated classes.
func sdkPaths(sdk string) ([]string, error) {
	var paths []string
	folder := os.DirFS(filepath.Join(sdk, "lib", "codegen"))
	err := fs.WalkDir(folder, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "Api.js") {
			return err
		}
		content, err := fs.ReadFile(folder, path)
		if err != nil {
			return err
		}
		for _, match := range sdkPath.FindAllSubmatch(content, -1) {
			paths = append(paths, string(match[1]))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the SDK: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("reading the SDK: no path is in the classes below %s", sdk)
	}
	return paths, nil
}

// extraPaths returns the paths of extra.txt, and the words that follow them.
func extraPaths() []string {
	var paths []string
	for line := range strings.Lines(extra) {
		if !strings.HasPrefix(line, "#") {
			paths = append(paths, strings.Fields(line)...)
		}
	}
	return paths
}

// What a segment of a path is: a place for something that is not HubSpot's, a
// version, or a word.
var (
	placeholder = regexp.MustCompile(`^\{\w+\}$`)
	version     = regexp.MustCompile(`^(v[0-9]{1,2}|20[0-9]{2}-[0-9]{2}(-beta)?)$`)
	word        = regexp.MustCompile(`^[a-z][A-Za-z_-]*$`)
)

// wordsOf returns the words in paths, sorted, each once.
func wordsOf(paths []string) ([]string, error) {
	var words []string
	for _, path := range paths {
		for segment := range strings.SplitSeq(path, "/") {
			switch {
			case segment == "", placeholder.MatchString(segment), version.MatchString(segment):
			case word.MatchString(segment):
				words = append(words, segment)
			default:
				return nil, fmt.Errorf("%q in %s is no word, no version and no placeholder", segment, path)
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words), nil
}
