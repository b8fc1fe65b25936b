package images

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/stages/picture"
	"github.com/prismflow/prismflow/stages/stagetest"
)

func aRecord() record {
	r := recordOf(aPNG(1), picture.Info{MediaType: "image/png", Width: 9, Height: 6})
	r.Status, r.FinalURL, r.ETag = 200, "http://example.org/a.png", `"1"`
	return r
}

func TestRecordsThatAreNotBelieved(t *testing.T) {
	good := aRecord()
	change := func(change func(*record)) []byte {
		r := good
		change(&r)
		data, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, data := range map[string][]byte{
		"nothing":            nil,
		"no JSON":            []byte("PNG"),
		"a short digest":     change(func(r *record) { r.SHA256 = r.SHA256[2:] }),
		"no digest":          change(func(r *record) { r.SHA256 = strings.Repeat("x", 64) }),
		"no pixels":          change(func(r *record) { r.Width = 0 }),
		"negative size":      change(func(r *record) { r.Bytes = -1 }),
		"no media type":      change(func(r *record) { r.MediaType = "" }),
		"both":               change(func(r *record) { r.Error = "x" }),
		"failure, no text":   change(func(r *record) { r.Cause = notFound }),
		"another type":       []byte(`{"status": "200"}`),
		"more than a record": append(change(func(*record) {}), '{'),
	} {
		if r, err := decodeRecord(data); err == nil {
			t.Errorf("%s was taken for a record: %+v", name, r)
		}
	}
	if r, err := decodeRecord(change(func(*record) {})); err != nil || r != good {
		t.Errorf("%+v, %v, want %+v", r, err, good)
	}
}

// FuzzDecodeRecord: what is believed is written as it was read.
func FuzzDecodeRecord(f *testing.F) {
	for _, r := range []record{aRecord(), recordFailure(permanent(notFound, "x"), ""), {}} {
		data, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeRecord(again); err != nil || back != r {
			t.Errorf("%s was read as %+v, written as %s and read as %+v (%v)", data, r, again, back, err)
		}
		if r.picture() && r.pixels() <= 0 || !json.Valid(again) {
			t.Errorf("%s was believed", data)
		}
	})
}

// What several URLs serve is kept once, and what is damaged is kept anew.
func TestShelf(t *testing.T) {
	memo, err := stagetest.Env(t).Memo(t.Context(), shelfScope(nil))
	if err != nil {
		t.Fatal(err)
	}
	s := shelf{memo}
	r := aRecord()
	keep := func(url string) {
		t.Helper()
		if err := s.keep(url, r, aPNG(1)); err != nil {
			t.Fatal(err)
		}
	}
	keep("a")
	keep("b")
	for _, url := range []string{"a", "b"} {
		known, ok, err := s.record(url)
		if err != nil || !ok || known != r {
			t.Errorf("%s: %+v, %v, %v", url, known, ok, err)
		}
	}
	if _, ok, err := s.record("c"); ok || err != nil {
		t.Errorf("a URL that nobody asked for is known (%v)", err)
	}
	if err := memo.Put(bytesKey(r.SHA256), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.bytes(r); ok || err != nil {
		t.Errorf("a damaged picture is whole (%v)", err)
	}
	keep("a")
	if data, ok, err := s.bytes(r); !ok || err != nil || !bytes.Equal(data, aPNG(1)) {
		t.Errorf("a picture that was kept again is not whole (%v)", err)
	}
}

// A picture that is damaged between the plan and the table is a row that says
// so, and is asked for again.
func TestLostPicture(t *testing.T) {
	site := newSite(t)
	site.serves("/a.png", aPNG(1))
	site.serves("/b.png", aPNG(2))
	env := stagetest.Env(t)
	items := []itemURL{{"a", site.URL + "/a.png"}, {"b", site.URL + "/b.png"}}
	for i, want := range []string{"", "the picture was kept and is lost", ""} {
		d := newDownload()
		d.AllowPrivate = true
		rows := download(t, d, env, items...)
		if rows[0].Error != want || rows[1].Error != "" {
			t.Errorf("run %d: %q, want %q", i, rows[0].Error, want)
		}
		if i > 0 {
			continue
		}
		memo, err := env.Memo(t.Context(), shelfScope(nil))
		if err == nil {
			err = memo.Put(bytesKey(rows[0].SHA256), []byte("damaged"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := site.times("/a.png"); n != 2 {
		t.Errorf("%d requests for a picture that was lost once", n)
	}
}
