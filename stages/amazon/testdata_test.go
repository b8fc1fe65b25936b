package amazon

import (
	"os"
	"path/filepath"
	"testing"
)

// realData is the path of a file of the real data, which are beside the
// repository or where PRISMFLOW_TESTDATA says. The test skips without them.
func realData(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("PRISMFLOW_TESTDATA")
	if dir == "" {
		dir = besideRepository(t)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real data are not there: %v", err)
	}
	return path
}

func besideRepository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "..", "shared", "data")
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}
