package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLocalPaths(t *testing.T) {
	base := filepath.Join(t.TempDir(), "a[1]*")
	for _, name := range []string{"b.gz", "a.gz", "lib/x/y.py", "lib/z.py", "other/w.py"} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"linked": "lib", "lib/out": "../other"} {
		if err := os.Symlink(to, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string][]string{
		"*.gz":       {"a.gz", "b.gz"}, // the directory's own name is no glob
		"lib":        {"lib/x/y.py", "lib/z.py"},
		"linked":     {"linked/x/y.py", "linked/z.py"},
		"other/w.py": {"other/w.py"},
		"absent":     nil,
		"*.absent":   nil,
	}
	for text, want := range tests {
		paths, err := localPaths(text, base, true)
		if (err != nil) != (want == nil) {
			t.Errorf("%s: %v", text, err)
		}
		var got []string
		for _, path := range paths {
			got = append(got, relativeName(path, base))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
