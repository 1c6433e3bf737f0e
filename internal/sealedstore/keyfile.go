package sealedstore

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxKeyFile is more than any spelling of a key takes.
const maxKeyFile = 1 << 10

// LoadOrCreateKey reads the key in the file at path, or makes a random one
// there, readable by its owner only. Of several processes that do so at once
// one makes the key and all return it. A file that others may read, or that
// does not hold a key, is refused.
func LoadOrCreateKey(path string) (Key, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("making encryption key file: %w", err)
	}
	return loadKey(path)
}

func loadKey(path string) (Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("reading encryption key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("reading encryption key file: %w", err)
	}
	// On Windows the mode says nothing about who may read.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return Key{}, fmt.Errorf("encryption key file %s has mode %04o: only its owner may have access: chmod 600 it, and consider whether the key was read", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return Key{}, fmt.Errorf("reading encryption key file: %w", err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("encryption key file %s: %w", path, err)
	}
	return key, nil
}

// createKey writes a new key to a file of its own and then links it to path:
// whoever sees path sees a whole key, and a key that is already there stays.
func createKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".key-*") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	raw := make([]byte, keySize)
	rand.Read(raw) // never fails
	_, writing := temp.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
	if err := errors.Join(writing, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// syncDir makes a new name outlast a power cut. Not every system can do that
// for a directory, and the key is good without.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
