package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
)

func TestLocalPaths(t *testing.T) {
	base := filepath.Join(t.TempDir(), "a[1]*")
	for _, name := range []string{"b.gz", "a.gz", "lib/x/y.py", "lib/z.py", "other/w.py", "export/_SUCCESS", "export/dt=2/.a.crc", "export/dt=2/a", "export/dt=1/b", "export/_log/c"} {
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
	tree, parts := stages.SourceSpec{Directories: true}, stages.SourceSpec{Parts: true}
	tests := map[string][]string{
		"*.gz":       {"a.gz", "b.gz"}, // the directory's own name is no glob
		"lib":        {"lib/x/y.py", "lib/z.py"},
		"linked":     {"linked/x/y.py", "linked/z.py"},
		"other/w.py": {"other/w.py"},
		"export":     {"export/dt=1/b", "export/dt=2/a"},
		"absent":     nil,
		"*.absent":   nil,
	}
	for text, want := range tests {
		spec := tree
		if text == "export" {
			spec = parts
		}
		paths, err := localPaths(text, base, spec)
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

func TestNothingNamed(t *testing.T) {
	base := t.TempDir()
	for text, want := range map[string]string{"*.gz": "/*.gz matches nothing", ".": " has no files in it", "absent": "/absent: no such file"} {
		_, err := localPaths(text, base, stages.SourceSpec{Parts: true})
		if !errors.Is(err, errMissingInput) || err.Error() != base+want {
			t.Errorf("%s: %v, want %s", text, err, base+want)
		}
	}
}

func TestLocalNames(t *testing.T) {
	for _, c := range []struct {
		path, text string
		spec       stages.SourceSpec
		want       string
	}{
		{"/p/data/a.csv", "data/a.csv", stages.SourceSpec{Parts: true}, "data/a.csv"},
		{"/p/data/dt=1/a", "data", stages.SourceSpec{Parts: true}, "data/dt=1/a"},
		{"/p/data/dt=1/a.csv", "data/*/*.csv", stages.SourceSpec{Parts: true}, "data/dt=1/a.csv"},
		{"/p/data/a.csv", "data/*.csv", stages.SourceSpec{}, "data/a.csv"},
		{"/data/a.csv", "../data/*.csv", stages.SourceSpec{}, "../data/a.csv"},
		{"/p/data/a.csv", "/p/data/*.csv", stages.SourceSpec{}, "/p/data/a.csv"},
		{"/p/data/x/a", "data", stages.SourceSpec{Directories: true, Names: stages.NamesBelow}, "x/a"},
		{"/p/data/a", "data/a", stages.SourceSpec{Names: stages.NamesKept}, "data/a"},
	} {
		if got := localName(c.path, c.text, "/p", c.spec); got != c.want {
			t.Errorf("%s as %s with %+v: %s, want %s", c.path, c.text, c.spec, got, c.want)
		}
	}
}
