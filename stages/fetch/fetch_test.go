package fetch

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
)

// A file of an archive. One whose path begins with -> is a link.
type file struct{ path, content string }

func zipOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.path, Method: zip.Deflate}
		if link, ok := strings.CutPrefix(f.path, "->"); ok {
			header.Name = link
			header.SetMode(os.ModeSymlink | 0o777)
		}
		to, err := w.CreateHeader(header)
		if err == nil {
			_, err = to.Write([]byte(f.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.path, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if link, ok := strings.CutPrefix(f.path, "->"); ok {
			header = &tar.Header{Name: link, Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}
			f.content = ""
		}
		err := w.WriteHeader(header)
		if err == nil {
			_, err = w.Write([]byte(f.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// run fetches a file with this content and returns what came out.
func run(t *testing.T, content []byte, stage Fetch) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	stage.URL = stages.SourceFiles(filepath.Join(dir, "in"))
	stage.File = stages.ToPlainFile(filepath.Join(dir, "out"))
	if stage.MaxBytes == 0 {
		stage.MaxBytes = 1 << 20
	}
	if err := stage.Run(context.Background(), stagetest.Env(t)); err != nil {
		return "", err
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return string(out), nil
}

func TestAFileAsItIs(t *testing.T) {
	for _, content := range []string{"", "\xef\xbb\xbfsome text\r\n", string(stagetest.Gzip("x")), strings.Repeat("x", 1<<20)} {
		got, err := run(t, []byte(content), Fetch{})
		if err != nil || got != content {
			t.Errorf("%.20q: got %.20q, error %v", content, got, err)
		}
	}
}

func TestAMemberOfAnArchive(t *testing.T) {
	files := []file{{"set/", ""}, {"set/README", "read me"}, {"set/ratings.csv", "\xef\xbb\xbfuser,item\r\n"}, {"set/old_ratings.csv", "old"}, {"set/more/tags.csv", ""}}
	for name, archive := range map[string][]byte{"zip": zipOf(t, files...), "tar": tarOf(t, files[1:]...), "tar.gz": stagetest.Gzip(tarOf(t, files[1:]...))} {
		for member, want := range map[string]string{
			"ratings.csv": files[2].content, "set/ratings.csv": files[2].content, "/set/ratings.csv": files[2].content,
			"more/tags.csv": "",
		} {
			got, err := run(t, archive, Fetch{Member: member})
			if err != nil || got != want {
				t.Errorf("%s of %s: got %q, error %v", member, name, got, err)
			}
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	text := strings.Repeat("some text ", 100)
	one := []file{{"a/x", text}, {"b/y", "other"}}
	twice := append([]file{{"c/x", "second"}}, one...)
	link := []file{{"->x", "/etc/passwd"}}
	encrypted := zipOf(t, one...)
	for _, magic := range []struct {
		header string
		flags  int
	}{{"PK\x03\x04", 6}, {"PK\x01\x02", 8}} {
		for at := 0; ; at++ {
			i := bytes.Index(encrypted[at:], []byte(magic.header))
			if i < 0 {
				break
			}
			at += i
			encrypted[at+magic.flags] |= flagEncrypted
		}
	}
	flipped := zipOf(t, one...)
	flipped[bytes.Index(flipped, []byte("a/x"))+3+10] ^= 0x40
	squeezed := stagetest.Gzip(tarOf(t, one...))
	for _, c := range []struct {
		name    string
		content []byte
		stage   Fetch
		want    string
	}{
		{"too large a file", []byte("12345"), Fetch{MaxBytes: 4}, "it has more than 4 bytes; max_bytes allows more"},
		{"no such member of a zip", zipOf(t, one...), Fetch{Member: "z"}, `the archive lacks a file called z; it has "a/x", "b/y"`},
		{"no such member of a tar", tarOf(t, one...), Fetch{Member: "z"}, `the archive lacks a file called z; it has "a/x", "b/y"`},
		{"a part of a name", zipOf(t, file{"my_x", ""}), Fetch{Member: "x"}, "lacks a file called x"},
		{"a way out of the archive", zipOf(t, one...), Fetch{Member: "../a/x"}, "lacks a file called ../a/x"},
		{"two in a zip", zipOf(t, twice...), Fetch{Member: "x"}, `several files are called x, among them "c/x" and "a/x"`},
		{"two in a tar", tarOf(t, twice...), Fetch{Member: "x"}, `several files are called x, among them "c/x" and "a/x"`},
		{"a link in a zip", zipOf(t, link...), Fetch{Member: "x"}, "is not a regular file"},
		{"a link in a tar", tarOf(t, link...), Fetch{Member: "x"}, "is not a regular file"},
		{"an encrypted member", encrypted, Fetch{Member: "x"}, "is encrypted"},
		{"a zip bomb", zipOf(t, file{"x", strings.Repeat("\x00", 1<<20)}), Fetch{Member: "x", MaxBytes: 1000}, "more than 1000 bytes"},
		{"a tar.gz bomb", stagetest.Gzip(tarOf(t, file{"x", strings.Repeat("\x00", 1<<20)})), Fetch{Member: "x", MaxBytes: 1000}, "more than 1000 bytes"},
		{"no archive", []byte(text), Fetch{Member: "x"}, "it is no zip or tar archive"},
		{"nothing", nil, Fetch{Member: "x"}, "it is empty, and no archive"},
		{"an empty zip", zipOf(t), Fetch{Member: "x"}, "it has no files"},
		{"a zip cut short", zipOf(t, one...)[:100], Fetch{Member: "x"}, "the archive is damaged"},
		{"a zip with a flipped bit", flipped, Fetch{Member: "x"}, "archive is"},
		{"a tar cut short", tarOf(t, one...)[:600], Fetch{Member: "x"}, "the archive is cut short"},
		{"a tar.gz cut short behind the member", squeezed[:len(squeezed)-9], Fetch{Member: "x"}, "the archive is cut short"},
	} {
		if got, err := run(t, c.content, c.stage); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.20q, error %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestSeveralFiles(t *testing.T) {
	stage := Fetch{URL: stages.SourceFiles("a", "b")}
	if err := stage.Run(context.Background(), stagetest.Env(t)); err == nil || err.Error() != "url names 2 files, and one becomes the output" {
		t.Errorf("error %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	stage := Fetch{URL: stages.SourceFiles(in), File: stages.ToPlainFile(in + ".out"), MaxBytes: 10}
	if err := stage.Run(ctx, stagetest.Env(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
