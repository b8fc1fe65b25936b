package stagetest

import (
	"os"
	"path/filepath"
	"testing"
)

// RealData is the path of a file of the real data, which are in the directory
// PRISMFLOW_TESTDATA or in shared/data beside the repository. The test skips
// where they are not.
func RealData(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("PRISMFLOW_TESTDATA")
	if dir == "" {
		dir = filepath.Join(repository(t), "..", "shared", "data")
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real data are not there: %v", err)
	}
	return path
}

// repository is the directory of go.mod above the test.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}
