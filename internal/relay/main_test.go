package relay_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain has more tests run at a time than there are processors: most of
// them wait, for a quota or a pause.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", "24")
	}
	os.Exit(m.Run())
}
