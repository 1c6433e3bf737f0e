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

// createKey links a new key to path: a key that is already there stays.
func createKey(path string) error {
	raw := make([]byte, keySize)
	rand.Read(raw) // never fails
	if err := writeFile(path, []byte(base64.StdEncoding.EncodeToString(raw)+"\n"), os.Link); err != nil {
		return err
	}
	syncDir(filepath.Dir(path))
	return nil
}

// writeFile writes data to a file of its own, for the owner alone, and then
// puts it at path with [os.Rename] or [os.Link]: whoever sees path sees the
// whole file.
func writeFile(path string, data []byte, put func(oldname, newname string) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".new-*") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, writing := temp.Write(data)
	if err := errors.Join(writing, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return put(temp.Name(), path)
}

// syncDir makes a new name outlast a power cut. Not every system can do that
// for a directory, and the key is good without.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
