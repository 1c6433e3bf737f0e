package appconfig

import (
	"fmt"
	"io"
	"os"
)

// maxFileSize is the most that is read of a settings file.
const maxFileSize = 1 << 20

// readFile reads a file that a setting names.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading file: %w", err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s: is larger than %d bytes", path, maxFileSize)
	}
	return data, nil
}
