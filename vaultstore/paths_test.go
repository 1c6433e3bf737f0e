package vaultstore

import "testing"

// TestPathsAreOfOneShape gives the last check what the ones before it should
// have stopped.
func TestPathsAreOfOneShape(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	good := paths{mount: "team/kv", prefix: "some/where"}
	if got, err := good.record("hbdev", id); err != nil || got != "some/where/connections/hbdev/01/"+id {
		t.Fatalf("record = %q, %v", got, err)
	}
	if got, err := good.document("freezes"); err != nil || got != "some/where/control/freezes" {
		t.Fatalf("document = %q, %v", got, err)
	}
	for name, path := range map[string]func() (string, error){
		"dots in mount":     func() (string, error) { return paths{"..", "p"}.record("hbdev", id) },
		"dots in prefix":    func() (string, error) { return paths{"m", "a/../b"}.record("hbdev", id) },
		"escape in prefix":  func() (string, error) { return paths{"m", "%2e%2e"}.idKey("hbdev") },
		"empty prefix":      func() (string, error) { return paths{"m", ""}.idKey("hbdev") },
		"dots as app":       func() (string, error) { return good.record("..", id) },
		"slash in app":      func() (string, error) { return good.record("a/b", id) },
		"upper-case id":     func() (string, error) { return good.record("hbdev", "0123456789ABCDEF0123456789ABCDEF") },
		"short id":          func() (string, error) { return good.record("hbdev", id[:31]) },
		"line break in id":  func() (string, error) { return good.record("hbdev", id+"\n") },
		"line break in app": func() (string, error) { return good.idKey("hbdev\n") },
		"dots as document":  func() (string, error) { return good.document("..") },
		"slash in document": func() (string, error) { return good.document("a/b") },
		"dots as shard":     func() (string, error) { return good.shard("hbdev", "..") },
	} {
		if got, err := path(); err == nil {
			t.Errorf("%s: path = %q; want an error", name, got)
		}
	}
}
