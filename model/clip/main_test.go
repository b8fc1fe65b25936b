package clip

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/safetensors/goldentest"
)

func TestMain(m *testing.M) { os.Exit(torchtest.Main(m)) }

// goldenFiles are those of a model of two small layers with the vocabulary of the published ones.
func goldenFiles(t testing.TB) Files { return filesOf(t, filepath.Join("testdata", "clip_tiny")) }

// filesOf are the files of a directory.
func filesOf(t testing.TB, dir string) Files {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := Files{}
	for _, e := range entries {
		files[e.Name()] = filepath.Join(dir, e.Name())
	}
	return files
}

// expected are the numbers of the published implementation.
func expected(t testing.TB) goldentest.File {
	t.Helper()
	return goldentest.Open(t, filepath.Join("testdata", "expected.safetensors"))
}
