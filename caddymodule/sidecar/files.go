package sidecar

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"

	"github.com/caddy-hubspot/caddy-hubspot/caddymodule/settings"
	"github.com/caddy-hubspot/caddy-hubspot/internal/placeholder"
)

// files notes what was in the files that settings were read from, so that a
// change is seen. Make one with newFiles; it is for one reading of the settings
// and not safe for concurrent use.
type files struct {
	// again is set if the settings have been read before. What a file lacks is
	// said here then; at first it is for whoever reads the file.
	again bool
	seen  map[string]digest
	// once is a file that can be read but once, such as a pipe; empty for none.
	once string
}

// digest tells contents of a file apart. It is zero for a file that cannot be
// read.
type digest [sha256.Size]byte

func newFiles(again bool) *files { return &files{again: again, seen: make(map[string]digest)} }

// fileForm is a placeholder that stands for a file. What Caddy does not expand
// because it is escaped is noted too, which does no harm.
var fileForm = regexp.MustCompile(`\{file\.([^{}]+)\}`)

// expand is [settings.Expand], and notes the files.
func (f *files) expand(value string) (string, error) {
	if err := f.noteIn(value); err != nil {
		return "", err
	}
	return settings.Expand(value)
}

func (f *files) expander() *placeholder.Expander { return placeholder.NewExpander(f.expand) }

// noteIn notes the files that a value has placeholders of.
func (f *files) noteIn(value string) error {
	for _, found := range fileForm.FindAllStringSubmatch(value, -1) {
		if err := f.note(found[1]); err != nil {
			return err
		}
	}
	return nil
}

// noteInJSON notes the files that any text in the settings of a module has
// placeholders of.
func (f *files) noteInJSON(raw json.RawMessage) error {
	tokens := json.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := tokens.Token()
		if err != nil {
			return nil // the end, or for the module to refuse
		}
		if text, ok := token.(string); ok {
			if err := f.noteIn(text); err != nil {
				return err
			}
		}
	}
}

// note notes what is in a file.
func (f *files) note(path string) error {
	sum, err := digestOf(path)
	f.seen[path] = sum
	switch {
	case f.again:
		return err
	case errors.Is(err, errIrregular):
		f.once = path
	}
	return nil
}

// has reports whether a file was noted.
func (f *files) has(path string) bool {
	_, ok := f.seen[path]
	return ok
}

// changed returns the files that are not as they were noted.
func (f *files) changed() []string {
	var changed []string
	for _, path := range slices.Sorted(maps.Keys(f.seen)) {
		if sum, _ := digestOf(path); sum != f.seen[path] {
			changed = append(changed, path)
		}
	}
	return changed
}

// errIrregular is said of what reading may block on or use up.
var errIrregular = errors.New("is not a regular file")

// maxFollowed is how much of a file counts. Caddy and the files of settings take
// less.
const maxFollowed = 1<<20 + 1

func digestOf(path string) (sum digest, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return sum, err
	}
	if !info.Mode().IsRegular() {
		return sum, fmt.Errorf("%s: %w", path, errIrregular)
	}
	file, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer func() { _ = file.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(file, maxFollowed)); err != nil {
		return sum, err
	}
	return digest(h.Sum(nil)), nil
}
