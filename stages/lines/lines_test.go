package lines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
)

func file(t testing.TB, name string, data []byte) stages.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return stages.File{Name: name, Path: path}
}

func zipped(members ...string) (file []byte) {
	for _, m := range members {
		file = append(file, stagetest.Gzip(m)...)
	}
	return file
}

// read returns the lines as "file:line:row text".
func read(options Options, files ...stages.File) ([]string, error) {
	r := Open(context.Background(), files, options)
	defer r.Close()
	var got []string
	for r.Next() {
		got = append(got, fmt.Sprintf("%s:%d:%d %s", r.File(), r.Line(), r.Row(), r.Text()))
	}
	return got, r.Err()
}

func TestRead(t *testing.T) {
	got, err := read(Options{},
		file(t, "a", []byte("one\ntwo\r\n\nfour")),
		file(t, "empty", nil),
		file(t, "b.gz", zipped("fi", "ve\nsix\n")), // a line across two members
		file(t, "c", []byte("\xef\xbb\xbfseven\n")),
		file(t, "d", zipped("\xef\xbb\xbfeight")), // gzip without saying so
	)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a:1:1 one", "a:2:2 two", "a:3:3 ", "a:4:4 four",
		"b.gz:1:5 five", "b.gz:2:6 six", "c:1:7 seven", "d:1:8 eight",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLinesAcrossBlocks(t *testing.T) {
	var text strings.Builder
	var want []string
	for i := range 3000 {
		line := fmt.Sprintf("%d %s", i, strings.Repeat("x", i%2500))
		text.WriteString(line + "\n")
		want = append(want, fmt.Sprintf("f:%d:%d %s", i+1, i+1, line))
	}
	long := strings.Repeat("y", 3*blockBytes)
	text.WriteString(long)
	want = append(want, "f:3001:3001 "+long)
	got, err := read(Options{}, file(t, "f", []byte(text.String())))
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(want, got) {
		t.Errorf("%d lines came out other than they went in", len(want))
	}
}

func TestTruncatedGzipIsAnErrorWhereverItEnds(t *testing.T) {
	var text strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&text, "line %d %x\n", i, i*2654435761)
	}
	whole := zipped(text.String())
	for _, n := range []int{2, 5, 9, 11, 100, len(whole) / 3, len(whole) / 2, len(whole) - 9, len(whole) - 8, len(whole) - 4, len(whole) - 1} {
		got, err := read(Options{}, file(t, "f.gz", whole[:n]))
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("cut after %d of %d bytes: error %v, want %v", n, len(whole), err, ErrDamaged)
			continue
		}
		place := fmt.Sprintf("f.gz:%d: ", len(got)+1)
		if len(got) > 0 && !strings.HasPrefix(err.Error(), place) {
			t.Errorf("cut after %d bytes: error %q after %d lines", n, err, len(got))
		}
		if want := "it is incomplete, so copy or download it again"; !strings.Contains(err.Error(), want) {
			t.Errorf("cut after %d bytes: error %q does not say %q", n, err, want)
		}
	}
}

func TestFlippedBitIsAnError(t *testing.T) {
	whole := zipped(strings.Repeat("some text and more of it\n", 1000))
	for at := 12; at < len(whole); at += 7 {
		broken := bytes.Clone(whole)
		broken[at] ^= 0x10
		if _, err := read(Options{}, file(t, "f.gz", broken)); !errors.Is(err, ErrDamaged) {
			t.Errorf("bit flipped in byte %d of %d: error %v", at, len(whole), err)
		}
	}
}

func TestLongLine(t *testing.T) {
	f := file(t, "f", []byte("short\n"+strings.Repeat("x", 100)+"\nshort\n"))
	got, err := read(Options{MaxBytes: 99}, f)
	if !errors.Is(err, ErrTooLong) || !strings.HasPrefix(err.Error(), "f:2: ") || len(got) != 1 {
		t.Errorf("got %d lines and %v", len(got), err)
	}
	if _, err := read(Options{MaxBytes: 100}, f); err != nil {
		t.Error(err)
	}
	bomb := file(t, "bomb.gz", zipped(strings.Repeat("\x00", 8*blockBytes)))
	if _, err := read(Options{MaxBytes: 2 * blockBytes}, bomb); !errors.Is(err, ErrTooLong) {
		t.Errorf("a line of 8 MiB: error %v", err)
	}
}

func TestOtherFormatsAreNamed(t *testing.T) {
	for name, magic := range map[string]string{"zstd": "\x28\xb5\x2f\xfd.", "zip": "PK\x03\x04..", "bzip2": "BZh91AY", "xz": "\xfd7zXZ\x00"} {
		_, err := read(Options{}, file(t, "f", []byte(magic)))
		if err == nil || !strings.Contains(err.Error(), "this is a "+name+" file: unpack it first") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestMissingFile(t *testing.T) {
	got, err := read(Options{}, file(t, "a", []byte("x\n")), stages.File{Name: "gone", Path: filepath.Join(t.TempDir(), "gone")})
	if !errors.Is(err, fs.ErrNotExist) || len(got) != 1 {
		t.Errorf("got %v and %v", got, err)
	}
}

func TestCancel(t *testing.T) {
	f := file(t, "f", bytes.Repeat([]byte("x\n"), 20*blockBytes/2))
	ctx, cancel := context.WithCancel(context.Background())
	r := Open(ctx, []stages.File{f}, Options{})
	defer r.Close()
	r.Next()
	cancel()
	for r.Next() {
	}
	if !errors.Is(r.Err(), context.Canceled) {
		t.Errorf("error %v", r.Err())
	}
}

func TestCloseBeforeTheEnd(t *testing.T) {
	f := file(t, "f", bytes.Repeat([]byte("x\n"), 20*blockBytes/2))
	r := Open(context.Background(), []stages.File{f}, Options{})
	r.Next()
	r.Close() // returns, and the goroutine is gone
}

func TestProgressEndsAtTheTotal(t *testing.T) {
	var done, total int64
	f, g := file(t, "f.gz", zipped("x\ny\n")), file(t, "g", []byte("z\n"))
	if _, err := read(Options{OnProgress: func(d, n int64) { done, total = d, n }}, f, g); err != nil {
		t.Fatal(err)
	}
	if total == 0 || done != total {
		t.Errorf("%d of %d bytes", done, total)
	}
}

func TestReadsWhatSplitWould(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\n\r")), 0, 200, -1).Draw(rt, "text")
		var want []string
		for i, line := range strings.Split(text, "\n") {
			if i == strings.Count(text, "\n") && line == "" {
				break
			}
			want = append(want, fmt.Sprintf("f:%d:%d %s", i+1, i+1, strings.TrimSuffix(line, "\r")))
		}
		data := []byte(text)
		if rapid.Bool().Draw(rt, "gzip") {
			data = zipped(text)
		}
		got, err := read(Options{}, file(t, "f", data))
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
	})
}
