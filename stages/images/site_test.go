package images

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	shop "github.com/prismflow/prismflow/stages/synthetic/site"
	"github.com/prismflow/prismflow/stages/tables"
)

// An exhibit is a picture of a shop and what becomes of it.
type exhibit struct {
	behaviour shop.Behaviour
	status    int32
	error     string // a part of it
	final     string // where it was found, if not where it was asked for
}

var exhibits = []exhibit{
	{behaviour: shop.Sent, status: 200},
	{behaviour: shop.Slow, status: 200},
	{behaviour: shop.Moved, status: 200, final: "http://images.invalid/moved/2.png"},
	{behaviour: shop.Failing, status: 200},
	{behaviour: shop.Busy, status: 200},
	{behaviour: shop.CutShort, status: 200},
	{behaviour: shop.Missing, status: 404, error: "404 Not Found"},
	{behaviour: shop.Gone, status: 410, error: "410 Gone"},
	{behaviour: shop.HTML, status: 200, error: "HTML page"},
	{behaviour: shop.Truncated, status: 200, error: "cut short"},
}

// shopWith is an archive of the exhibits, and items that want them.
func shopWith(t *testing.T, exhibits []exhibit) (stages.Source, []itemURL) {
	t.Helper()
	var buf bytes.Buffer
	var items []itemURL
	w := shop.NewWriter(&buf)
	for i, e := range exhibits {
		name := string('0'+rune(i)) + ".png"
		if err := w.Add(name, e.behaviour, aPNG(i)); err != nil {
			t.Fatal(err)
		}
		items = append(items, itemURL{Item: name, ImageURL: shop.URL(name)})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pictures.zip")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return stages.SourceFiles(path), items
}

func TestSiteIsAskedForPictures(t *testing.T) {
	d, env := newDownload(), stagetest.Env(t)
	var items []itemURL
	d.Site, items = shopWith(t, exhibits)
	// A proxy of the environment is not asked, nor is anybody else.
	env.LookupEnv = func(string) (string, bool) { return "http://127.0.0.1:1", true }
	elsewhere := itemURL{Item: "elsewhere", ImageURL: "http://example.invalid/x.png"}
	rows := download(t, d, env, append(items, elsewhere)...)
	for i, e := range exhibits {
		checkExhibit(t, e, rows[i], aPNG(i))
	}
	if last := rows[len(exhibits)]; last.Status != 403 {
		t.Errorf("a URL of another host: %+v", last)
	}
	got := counts(env)
	for name, want := range map[string]int{
		"pictures": 6, "downloaded": 6, "retried": 3, "retried_server_error": 2, "retried_cut_short": 1,
		"failed": 5, "failed_not_found": 2, "failed_not_a_picture": 1, "failed_damaged": 1, "failed_forbidden": 1,
	} {
		if got[name] != want {
			t.Errorf("%s = %d, want %d", name, got[name], want)
		}
	}
	if reason := env.IncompleteReason(); reason != "" {
		t.Errorf("it is incomplete: %s", reason)
	}
}

func checkExhibit(t *testing.T, e exhibit, row tables.Image, whole []byte) {
	t.Helper()
	if e.behaviour.Arrives() {
		if !bytes.Equal(row.Bytes, whole) || row.Error != "" {
			t.Errorf("%q: %d of %d bytes, error %q", e.behaviour, len(row.Bytes), len(whole), row.Error)
		}
		if want := e.final; want != "" && row.FinalURL != want {
			t.Errorf("%q: found at %s, want %s", e.behaviour, row.FinalURL, want)
		}
	} else if len(row.Bytes) > 0 || e.error == "" || !strings.Contains(row.Error, e.error) {
		t.Errorf("%q: %d bytes, error %q, want %q", e.behaviour, len(row.Bytes), row.Error, e.error)
	}
	if row.Status != e.status {
		t.Errorf("%q: status %d, want %d", e.behaviour, row.Status, e.status)
	}
}

// What was had from a site is had: the next run asks for nothing.
func TestSiteIsAskedOnce(t *testing.T) {
	d, env := newDownload(), stagetest.Env(t)
	var items []itemURL
	d.Site, items = shopWith(t, exhibits)
	first := download(t, d, env, items...)
	again := stagetest.Env(t)
	again.OpenMemo = env.Memo
	second := download(t, d, again, items...)
	if got := counts(again); got["downloaded"] != 0 || got["retried"] != 0 || got["reused"] != len(items) {
		t.Errorf("counted %v", got)
	}
	for i := range first {
		if !bytes.Equal(first[i].Bytes, second[i].Bytes) || first[i].Error != second[i].Error {
			t.Errorf("row %d was %+v and is %+v", i, first[i], second[i])
		}
	}
}

// The same URL is another picture in another archive, and on the web.
func TestSitesAreRememberedApart(t *testing.T) {
	keys := map[artifacts.Key]bool{}
	for _, archive := range [][]stages.File{nil, {{Digest: artifacts.DigestOf([]byte("one"))}}, {{Digest: artifacts.DigestOf([]byte("two"))}}} {
		key, err := shelfScope(archive).Key()
		if err != nil {
			t.Fatal(err)
		}
		keys[key] = true
	}
	if len(keys) != 3 {
		t.Errorf("%d memos for no archive and two", len(keys))
	}
}

func TestSiteThatCannotBeServed(t *testing.T) {
	d := newDownload()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, source := range map[string]stages.Source{
		text:                        stages.SourceFiles(text),
		"names 2 archives, and one": stages.SourceFiles(text, text),
	} {
		d.Site = source
		_, err := tryDownload(t, d, stagetest.Env(t), itemURL{Item: "a", ImageURL: shop.URL("a.png")})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
