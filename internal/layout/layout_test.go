// Package layout_test holds the project's shape: which package may import
// which, and that the documents name tests that exist.
package layout_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
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
		case entry.IsDir() && path != root && isModule(path):
			return filepath.SkipDir
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

// isModule reports whether a folder is a module of its own.
func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

// modules are the packages that Caddy loads modules of. They do not know each
// other; what they share is in sidecar, settings and pool.
var modules = map[string]bool{
	"caddymodule/admin": true, "caddymodule/auth": true, "caddymodule/command": true,
	"caddymodule/health": true, "caddymodule/proxy": true, "caddymodule/queues": true, "caddymodule/sandbox": true,
	"caddymodule/stores": true, "caddymodule/webhook": true,
}

// withoutCaddy are the files below caddymodule that import neither Caddy nor
// what builds on it, and why they are there all the same.
var withoutCaddy = map[string]string{
	"caddymodule/admin/quota.go":      "an endpoint; the running config is found in admin.go",
	"caddymodule/admin/scopes.go":     "an endpoint; the running config is found in admin.go",
	"caddymodule/admin/tags.go":       "an endpoint; the running config is found in admin.go",
	"caddymodule/command/freeze.go":   "commands that ask Caddy's admin API, by command.go",
	"caddymodule/command/user_arg.go": "arguments of those commands",
	"caddymodule/pool/key.go":         "the keys of Caddy's pool",
	"caddymodule/pool/newest.go":      "what values in the pool have of the newest config",
	"caddymodule/proxy/accesslog.go":  "what a call adds to Caddy's access log, in zap's form",
	"caddymodule/sidecar/caller.go":   "a setting of the module",
	"caddymodule/sidecar/export.go":   "a setting of the module",
	"caddymodule/sidecar/follow.go":   "a method of the module",
}

// Imports go one way: cmd to caddymodule, and from there to vaultstore and to
// internal. Only the first two know Caddy, and what is in caddymodule is there
// because it does, or builds on what does.
func TestImports(t *testing.T) {
	files := 0
	reasons := maps.Clone(withoutCaddy)
	eachFile(t, parser.ImportsOnly, func(from string, file *ast.File) {
		files++
		knowsCaddy := false
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			knowsCaddy = knowsCaddy || isCaddy(imported) || strings.HasPrefix(imported, module+"caddymodule")
			if reason := refused(from, imported); reason != "" {
				t.Errorf("%s imports %s: %s", from, imported, reason)
			}
		}
		if strings.HasPrefix(from, "caddymodule/") && !isTest(from) && !knowsCaddy {
			if reasons[from] == "" {
				t.Errorf("%s imports no Caddy: it belongs below internal, or needs a reason in withoutCaddy", from)
			}
			delete(reasons, from)
		}
	})
	for file := range reasons {
		t.Errorf("%s is in withoutCaddy and either imports Caddy or is not there", file)
	}
	if files < 100 {
		t.Errorf("there are only %d files: this test sees nothing", files)
	}
}

func isCaddy(imported string) bool { return strings.HasPrefix(imported, "github.com/caddyserver/") }

func isTest(file string) bool {
	return strings.HasSuffix(file, "_test.go") || isTestKit(path.Dir(file))
}

// isTestKit reports whether a package is for tests only.
func isTestKit(folder string) bool {
	switch folder {
	case "internal/sidecartest", "internal/installtest", "internal/natstest", "internal/testserver", "internal/vaulttest", "internal/webhookqueue/queuetest", "caddymodule/caddytest":
		return true
	}
	return false
}

// refused says why a file must not import a package. Tests may bring along a
// real store, and the modules that they test.
func refused(file, imported string) string {
	area, _, _ := strings.Cut(file, "/")
	folder := path.Dir(file)
	own, ok := strings.CutPrefix(imported, module)
	switch {
	case isCaddy(imported) && area != "caddymodule" && area != "cmd":
		return "only caddymodule and cmd know Caddy"
	case !ok || own == folder:
		return ""
	case strings.HasPrefix(own, "caddymodule") && area != "caddymodule" && area != "cmd":
		return "only cmd builds on caddymodule"
	case isTest(file):
		return ""
	case isTestKit(own):
		return "it is for tests only"
	case own == "caddymodule" && area != "cmd":
		return "only cmd builds on caddymodule"
	case modules[own] && file != "caddymodule/doc.go":
		return "modules do not know each other"
	case own == "vaultstore" && area == "internal":
		return "nothing in internal knows Vault"
	case folder == "internal/relay" && own == "internal/install", folder == "internal/install" && own == "internal/relay":
		return "calls and installs do not know each other"
	}
	return ""
}

// maxLines is how large a package of caddymodule may be, without its tests.
const maxLines = 3000

func TestModulesAreSmall(t *testing.T) {
	lines := make(map[string]int)
	eachFile(t, parser.PackageClauseOnly, func(name string, _ *ast.File) {
		if !strings.HasPrefix(name, "caddymodule/") || isTest(name) {
			return
		}
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		lines[path.Dir(name)] += bytes.Count(content, []byte("\n"))
	})
	for folder, n := range lines {
		if n > maxLines {
			t.Errorf("%s has %d lines; %d is the most", folder, n, maxLines)
		}
	}
	for folder := range modules {
		if lines[folder] == 0 {
			t.Errorf("there is no module in %s", folder)
		}
	}
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
	for _, document := range []string{"README.md", "docs/security.md", "docs/reliability.md", "docs/quota.md", "docs/webhooks.md"} {
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
