package images

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
)

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// directory runs the stage as a pipeline does, over files that are named as the
// engine names those below a directory.
func runWithDirectory(t *testing.T, d *Download, dir string, names ...string) *Download {
	t.Helper()
	var paths []string
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, filepath.FromSlash(name)))
	}
	d.Directory = stages.SourceFiles(paths...)
	for i, file := range d.Directory.Files() {
		file.Name, file.Digest = names[i], artifacts.DigestOf([]byte(names[i]))
		d.Directory.Files()[i] = file
	}
	return d
}

func TestDirectory(t *testing.T) {
	s := newSite(t)
	s.serves("/", aPNG(3))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.png"), aPNG(1))
	write(t, filepath.Join(dir, "..%2F..%2Fetc%2Fpasswd.JPG"), aPNG(2)) // a PNG by content
	write(t, filepath.Join(dir, "broken.gif"), []byte("GIF"))
	write(t, filepath.Join(dir, "notes.txt"), nil)
	write(t, filepath.Join(dir, "sub", "c.png"), aPNG(1))
	d := runWithDirectory(t, newDownload(), dir, "..%2F..%2Fetc%2Fpasswd.JPG", "a.png", "broken.gif", "notes.txt", "sub/c.png")
	d.AllowPrivate = true
	env := stagetest.Env(t)
	rows := download(t, d, env, itemURL{"a", s.URL + "/never"}, itemURL{"../../etc/passwd", ""}, itemURL{"broken", s.URL + "/never"}, itemURL{"c", s.URL + "/c"})
	if r := rows[0]; r.Width != 9 || r.FinalURL != "a.png" || r.Status != 200 || r.URL != s.URL+"/never" || len(r.SHA256) != 64 {
		t.Errorf("a picture of the directory: %+v", r)
	}
	if r := rows[1]; r.Width != 10 || r.MediaType != "image/png" {
		t.Errorf("a picture under an escaped name: %+v", r)
	}
	if r := rows[2]; !strings.Contains(r.Error, "cut short") || len(r.Bytes) > 0 {
		t.Errorf("a broken picture: %+v", r)
	}
	if r := rows[3]; r.Width != 11 || s.times("/never") != 0 {
		t.Errorf("an item without a file: %+v; %d requests for others", r, s.times("/never"))
	}
	if got := counts(env); got["from_files"] != 3 || got["failed_damaged"] != 1 || got["pictures"] != 3 {
		t.Errorf("counts %v", got)
	}
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	for want, names := range map[string][]string{
		"item a has two pictures, a.jpg and a.png":                                  {"a.jpg", "a.png"},
		"item a b has two pictures, a b.jpg and a%20b.gif":                          {"a b.jpg", "a%20b.gif"},
		"the name of the picture 50%.png is not a percent-escaped item id: invalid": {"50%.png"},
	} {
		d := runWithDirectory(t, newDownload(), t.TempDir(), names...)
		_, err := tryDownload(t, d, stagetest.Env(t), itemURL{"a", ""})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %q", names, err, want)
		}
	}
}

func TestFileURLs(t *testing.T) {
	dir := t.TempDir()
	good := write(t, filepath.Join(dir, "a picture.png"), aPNG(1))
	large := write(t, filepath.Join(dir, "large.png"), append(aPNG(1), make([]byte, 5000)...))
	of := func(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }
	d := newDownload()
	d.AllowFiles, d.MaxBytes = true, 2000
	tests := []struct{ url, want string }{
		{of(good), ""},
		{strings.Replace(of(good), "file://", "file://localhost", 1), ""},
		{of(large), "it has more than the 2000 bytes that max_bytes allows"},
		{of(filepath.Join(dir, "none.png")), "there is no such file"},
		{of(dir), "it is not a regular file"},
		{of("/dev/zero"), "it is not a regular file"},
		{"file://server/share/a.png", `it is a file of another machine, "server"`},
		{"file:a.png", "the URL names no file"},
	}
	var items []itemURL
	for _, test := range tests {
		items = append(items, itemURL{test.url, test.url})
	}
	for i, row := range download(t, d, stagetest.Env(t), items...) {
		if row.Error != tests[i].want || (len(row.Bytes) == 0) != (tests[i].want != "") {
			t.Errorf("%s: %q, want %q", row.URL, row.Error, tests[i].want)
		}
	}
}
