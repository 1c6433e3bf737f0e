package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// seqDigits is how many digits the number in a full file's name has at least,
// so that names sort as numbers do.
const seqDigits = 12

// rolledName is the path of a full file: that of audit.jsonl, when its last
// line was 1234, is audit-000000001234.jsonl.
func rolledName(path string, last uint64) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%0*d%s", strings.TrimSuffix(path, ext), seqDigits, last, ext)
}

// Rolled returns the full files that belong to the log at path, the oldest
// first.
func Rolled(path string) ([]string, error) {
	folder, name := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(folder))
	if err != nil {
		return nil, err
	}
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext) + "-"
	var found []string
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), stem)
		number, hasExt := strings.CutSuffix(rest, ext)
		if ok && hasExt && len(number) >= seqDigits && isNumber(number) {
			found = append(found, folder+entry.Name())
		}
	}
	slices.Sort(found)
	return found, nil
}

// removeRolled removes the oldest full files but for keep; 0 removes none.
func removeRolled(path string, keep int) error {
	if keep == 0 {
		return nil
	}
	files, err := Rolled(path)
	if err != nil {
		return err
	}
	for len(files) > keep {
		if err := os.Remove(files[0]); err != nil {
			return err
		}
		files = files[1:]
	}
	return nil
}

// lastRolled returns the head of the newest full file, or none if there is no
// such file.
func lastRolled(path string) (Head, error) {
	files, err := Rolled(path)
	if err != nil || len(files) == 0 {
		return Head{}, withoutPath(err)
	}
	newest := files[len(files)-1]
	f, err := os.Open(newest)
	if err != nil {
		return Head{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Head{}, err
	}
	end, err := readEnd(f, info.Size())
	if err != nil {
		return Head{}, fmt.Errorf("the file before it, %s: %w", filepath.Base(newest), err)
	}
	return end.head, nil
}
