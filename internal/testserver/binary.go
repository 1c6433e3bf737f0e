// Package testserver builds and runs the servers that tests need and that are
// nested modules here, so that what they are made of stays out of the product's
// go.mod. A binary is kept in the user's cache directory; a server ends with the
// test process at the latest, however that ends. It needs a POSIX shell. It is
// imported by tests only.
package testserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Build returns the path of the program of the nested module in the folder source,
// a path below this module's root, building it if need be. Processes that need it
// at the same time build it once: the others wait.
func Build(name, source string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	source = filepath.Join(root, filepath.FromSlash(source))
	sum, err := fingerprint(source)
	if err != nil {
		return "", fmt.Errorf("reading the server's source: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w", err)
	}
	dir := filepath.Join(cache, "caddy-hubspot", name+"-"+sum)
	target := filepath.Join(dir, name)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("creating the cache directory: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("locking the cache directory: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	return target, build(source, target)
}

// build compiles beside the target and renames, so that no other process
// sees half a binary.
func build(source, target string) error {
	unfinished := target + ".unfinished"
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", unfinished, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the server: %w\n%s", err, out)
	}
	return os.Rename(unfinished, target)
}

// lock takes an exclusive lock on a file. The system gives it back when the
// process ends.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// fingerprint hashes what the binary is made of.
func fingerprint(source string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		if filepath.Ext(name) != ".go" && name != "go.mod" && name != "go.sum" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(h, name, len(content))
		_, err = h.Write(content)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// ModuleRoot finds the root of this module from the directory of the package
// under test.
func ModuleRoot() (string, error) {
	const module = "module github.com/caddy-hubspot/caddy-hubspot"
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if f, err := os.Open(filepath.Join(dir, "go.mod")); err == nil {
			head := make([]byte, 256)
			n, _ := io.ReadFull(f, head)
			_ = f.Close()
			first, _, _ := strings.Cut(string(head[:n]), "\n")
			if strings.TrimSpace(first) == module {
				return dir, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is not inside the module's source tree")
		}
		dir = parent
	}
}
