package lines

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
)

// archive is a tar archive of files, written as "path\ncontent". A path that
// begins with -> is that of a link.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		path, content, _ := strings.Cut(f, "\n")
		header := &tar.Header{Name: path, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if link, ok := strings.CutPrefix(path, "->"); ok {
			header = &tar.Header{Name: link, Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMemberOfAnArchive(t *testing.T) {
	packed := archive(t, "set/other.json\n{}\n", "set/agreement.pdf\n%PDF", "set/review.json\n\xef\xbb\xbfone\ntwo", "set/tip.json\n"+strings.Repeat("x", 3*blockBytes))
	got, err := read(Options{Member: "review.json"},
		file(t, "set.tar", packed),
		file(t, "set.tgz", zipped(string(packed))),
		file(t, "other.json", []byte("three")), // no archive, whatever its name
	)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"set.tar/set/review.json:1:1 one", "set.tar/set/review.json:2:2 two",
		"set.tgz/set/review.json:1:3 one", "set.tgz/set/review.json:2:4 two",
		"other.json:1:5 three",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestArchivesThatAreRefused(t *testing.T) {
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("file%d\n", i))
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"without the member", archive(t, "a\n", "b\n"), `the archive lacks a file called review.json; it has "a", "b"`},
		{"of many others", archive(t, many...), `"file19", more`},
		{"with a link for the member", archive(t, "->set/review.json"), `"set/review.json" in the archive is not a regular file`},
		{"with two", archive(t, "review.json\none\n", "new/review.json\ntwo\n"), `several files called review.json; the second is "new/review.json"`},
	} {
		_, err := read(Options{Member: "review.json"}, file(t, "set.tar", c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
}

// The member may end long before the archive does, and what comes behind it is
// damaged all the same.
func TestDamagedArchive(t *testing.T) {
	packed := archive(t, "review.json\none\n", "tip.json\n"+strings.Repeat("x", 100_000))
	squeezed := zipped(string(packed))
	for name, data := range map[string][]byte{
		"cut within the next member":  packed[:50_000],
		"cut within a header":         packed[:1400],
		"gzip cut":                    squeezed[:len(squeezed)-9],
		"gzip with a wrong check sum": append(bytes.Clone(squeezed[:len(squeezed)-8]), make([]byte, 8)...),
		"no header behind the member": append(bytes.Clone(packed[:1024]), bytes.Repeat([]byte("y"), 1024)...),
	} {
		got, err := read(Options{Member: "review.json"}, file(t, "set.tar", data))
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %q and error %v", name, got, err)
		}
	}
}

func TestTextsOfAnArchive(t *testing.T) {
	f := file(t, "set.tar", archive(t, "a\nx", "b/review.json\none\ntwo\n"))
	texts := OpenTexts(context.Background(), []stages.File{f}, Options{Member: "review.json"})
	defer texts.Close()
	if !texts.NextFile() || texts.File() != "set.tar/b/review.json" {
		t.Errorf("the file is %q, error %v", texts.File(), texts.Err())
	}
}
