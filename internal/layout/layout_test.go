// Package layout_test holds the project's shape: which package may import
// which, and that the documents name tests that exist.
package layout_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/caddy-hubspot/caddy-hubspot/"
	root   = "../.."
)

// eachFile parses every Go file of the module. path is relative to its root.
func eachFile(t *testing.T, mode parser.Mode, visit func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() && path == filepath.Join(root, "internal", "vaulttest", "server"):
			return filepath.SkipDir // a module of its own
		case entry.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, mode)
		if err != nil {
			return err
		}
		path, err = filepath.Rel(root, path)
		visit(filepath.ToSlash(path), file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Imports go one way: cmd to caddymodule, and from there to vaultstore and to
// internal. Only the first two know Caddy.
func TestImports(t *testing.T) {
	files := 0
	eachFile(t, parser.ImportsOnly, func(from string, file *ast.File) {
		files++
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if reason := refused(from, path); reason != "" {
				t.Errorf("%s imports %s: %s", from, path, reason)
			}
		}
	})
	if files < 100 {
		t.Errorf("there are only %d files: this test sees nothing", files)
	}
}

// refused says why a file must not import a package. Tests may bring a real
// store along.
func refused(file, path string) string {
	area, _, _ := strings.Cut(file, "/")
	own, ok := strings.CutPrefix(path, module)
	switch {
	case strings.HasPrefix(path, `github.com/caddyserver/caddy/`) && area != "caddymodule" && area != "cmd":
		return "only caddymodule and cmd know Caddy"
	case !ok || area == "cmd":
		return ""
	case own == "caddymodule" && area != "caddymodule":
		return "only cmd builds on caddymodule"
	case own == "vaultstore" && area == "internal" && !strings.HasSuffix(file, "_test.go"):
		return "nothing in internal knows Vault"
	}
	return ""
}

// What a document says is held by a test has that test.
func TestDocumentsNameTests(t *testing.T) {
	known := make(map[string]bool)
	eachFile(t, parser.SkipObjectResolution, func(_ string, file *ast.File) {
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil {
				known[f.Name.Name] = true
			}
		}
	})
	name := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)`")
	for _, document := range []string{"README.md", "docs/security.md", "docs/reliability.md", "docs/quota.md"} {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(document)))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range name.FindAllStringSubmatch(string(content), -1) {
			if !known[match[1]] {
				t.Errorf("%s names %s, which does not exist", document, match[1])
			}
		}
	}
}
