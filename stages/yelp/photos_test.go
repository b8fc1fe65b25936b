package yelp

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// jpegOf is a picture of one shade, a JPEG of 4 × 3 pixels.
func jpegOf(t testing.TB, shade uint8) string {
	t.Helper()
	picture := image.NewGray(image.Rect(0, 0, 4, 3))
	for i := range picture.Pix {
		picture.Pix[i] = color.Gray{Y: shade}.Y
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func photoLine(id, business, label string) string {
	return fmt.Sprintf(`{"photo_id": "%s", "business_id": "%s", "caption": "", "label": "%s"}`, id, business, label)
}

// listed is a photos.json.
var listed = strings.Join([]string{
	photoLine("p1", "b1", "drink"),
	photoLine("p3", "b1", "food"),
	photoLine("p2", "b1", "food"),
	photoLine("p4", "b2", "outside"),
	photoLine("p5", "b2", "inside"), // its file is broken
	photoLine("p6", "b3", "none"),   // a label that nobody lists
	photoLine("p7", "b4", "menu"),   // there is no file
	photoLine("p8", "b5", "food"),   // its file is too large
}, "\n")

// files are the pictures of listed, and others.
func files(t testing.TB) []entry {
	return []entry{
		{name: "photos/p1.jpg", content: jpegOf(t, 10)},
		{name: "photos/p3.jpg", content: jpegOf(t, 30)},
		{name: "photos/p4.jpg", content: jpegOf(t, 40)},
		{name: "photos/p2.jpg", content: jpegOf(t, 20)},
		{name: "photos/p5.jpg", content: "\xff\xd8\xff broken"},
		{name: "photos/p6.jpg", content: jpegOf(t, 60)},
		{name: "photos/p8.jpg", content: jpegOf(t, 80) + strings.Repeat("x", 2000)},
		{name: "photos/p9.jpg", content: jpegOf(t, 90)}, // not listed
		{name: "terms.pdf", content: "%PDF"},
	}
}

func readPhotos(t testing.TB, stage Photos, source string, photos ...stages.File) ([]tables.Image, map[string]float64, error) {
	t.Helper()
	env := stagetest.Env(t)
	stage.Source = stages.SourceFiles(source)
	stage.Pictures = sourceOf(photos...)
	if stage.Labels == nil {
		stage.Labels = []string{"food", "inside", "outside", "menu", "drink"}
	}
	stage.PerBusiness, stage.MaxBytes = max(stage.PerBusiness, 1), max(stage.MaxBytes, 2000)
	result := stagetest.Result(t, &stage.Images)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, stagetest.Counts(env), err
	}
	return result(), stagetest.Counts(env), nil
}

func sourceOf(files ...stages.File) stages.Source {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	return stages.SourceFiles(paths...)
}

// folderOf are entries as files below a folder.
func folderOf(t testing.TB, entries []entry) []stages.File {
	t.Helper()
	dir := t.TempDir()
	var list []stages.File
	for _, e := range entries {
		path := filepath.Join(dir, e.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(e.content), 0o600); err != nil {
			t.Fatal(err)
		}
		list = append(list, stages.File{Name: e.name, Path: path})
	}
	return list
}

// summary writes rows as "item file" or "item: cause".
func summary(rows []tables.Image) []string {
	var list []string
	for _, r := range rows {
		if r.Error != "" {
			list = append(list, r.Item+": "+r.Error)
		} else {
			list = append(list, r.Item+" "+r.FinalURL)
		}
	}
	return list
}

func TestPhotosFromEverywhere(t *testing.T) {
	json := write(t, "photos.json", []byte(listed))
	packed := archive(t, append(files(t), entry{name: "photos.json", content: listed})...)
	whole := write(t, "yelp_photos.tar", packed)
	want := []string{
		"b1 p2.jpg", "b1 p3.jpg", "b2 p4.jpg",
		"b3: no photo is known", "b4: none of its photos is there", "b5: none of its photos can be read",
	}
	for _, c := range []struct {
		name, source string
		photos       []stages.File
	}{
		{"folder", json, folderOf(t, files(t))},
		{"tar", whole, []stages.File{{Path: whole}}},
		{"tgz", json, []stages.File{{Path: write(t, "photos", stagetest.Gzip(packed))}}}, // told by its content
	} {
		rows, report, err := readPhotos(t, Photos{PerBusiness: 2}, c.source, c.photos...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, summary(rows)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
		for name, n := range map[string]float64{
			"photos": 8, "bad_rows": 0, "photos_of_other_labels": 1, "photos_of_other_businesses": 0,
			"items": 5, "items_with_picture": 2, "pictures": 3, "pictures_missing": 1, "pictures_broken": 1,
			"pictures_too_large": 1, "pictures_not_listed": 1, "duplicate_pictures": 0, "refused_entries": 0,
		} {
			if report[name] != n {
				t.Errorf("%s: %s is %v, want %v", c.name, name, report[name], n)
			}
		}
		data := jpegOf(t, 20)
		digest := sha256.Sum256([]byte(data))
		first := tables.Image{Item: "b1", FinalURL: "p2.jpg", Status: 200, MediaType: "image/jpeg", Width: 4, Height: 3, SHA256: hex.EncodeToString(digest[:]), Bytes: []byte(data)}
		if diff := cmp.Diff(first, rows[0]); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

// The first of many is the one that the rule says, whatever order they come in.
func TestRuleOfChoice(t *testing.T) {
	json, photos := write(t, "photos.json", []byte(listed)), folderOf(t, files(t))
	for _, c := range []struct {
		stage Photos
		want  []string
	}{
		{Photos{}, []string{"b1 p2.jpg", "b2 p4.jpg", "b3: no photo is known", "b4: none of its photos is there", "b5: none of its photos can be read"}},
		{Photos{Labels: []string{"drink", "none"}}, []string{"b1 p1.jpg", "b2: no photo is known", "b3 p6.jpg", "b4: no photo is known", "b5: no photo is known"}},
		{Photos{Labels: []string{"drink", "food"}, PerBusiness: 9}, []string{"b1 p1.jpg", "b1 p2.jpg", "b1 p3.jpg", "b2: no photo is known", "b3: no photo is known", "b4: no photo is known", "b5: none of its photos can be read"}},
		{
			Photos{Items: stagetest.Table[itemID](t, []tables.CorpusItem{{Item: "b2"}, {Item: "x"}, {Item: "b1"}})},
			[]string{"b2 p4.jpg", "x: no photo is known", "b1 p2.jpg"},
		},
	} {
		rows, _, err := readPhotos(t, c.stage, json, photos...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, summary(rows)); diff != "" {
			t.Errorf("labels %v (-want +got)\n%s", c.stage.Labels, diff)
		}
	}
}

func TestHostileArchive(t *testing.T) {
	outside := write(t, "outside.jpg", []byte(jpegOf(t, 1)))
	json := write(t, "photos.json", []byte(listed))
	tarball := write(t, "photos.tar", archive(t,
		entry{name: "../../p2.jpg", content: jpegOf(t, 2)},
		entry{name: "/p3.jpg", content: jpegOf(t, 3)},
		entry{name: "photos/p4.jpg", link: outside},
		entry{name: "photos/../p1.jpg", content: jpegOf(t, 1)}, // stays within
		entry{name: "other/p1.jpg", content: jpegOf(t, 9)},     // the second of p1
	))
	rows, report, err := readPhotos(t, Photos{}, json, stages.File{Path: tarball})
	if err != nil {
		t.Fatal(err)
	}
	if got := summary(rows); got[0] != "b1 p1.jpg" || string(rows[0].Bytes) != jpegOf(t, 1) || got[1] != "b2: none of its photos is there" {
		t.Errorf("got %v", got)
	}
	if report["refused_entries"] != 3 || report["duplicate_pictures"] != 1 {
		t.Errorf("report %v", report)
	}
}

func TestBadArchives(t *testing.T) {
	json := write(t, "photos.json", []byte(listed))
	whole := archive(t, files(t)...)
	packed := stagetest.Gzip(whole)
	for name, data := range map[string][]byte{
		"cut in a picture": whole[:700], "cut gzip": packed[:len(packed)-9], "no archive": bytes.Repeat([]byte("x"), 2000),
		"a header of more than there is": claims(t, 1<<40),
	} {
		_, _, err := readPhotos(t, Photos{}, json, stages.File{Path: write(t, "photos.tar", data)})
		if !errors.Is(err, lines.ErrDamaged) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	_, report, err := readPhotos(t, Photos{}, json, stages.File{Path: write(t, "photos.tar", archive(t, entry{name: "x.jpg"}))})
	if want := "none of 7 photos is there: is photos the folder or archive of <photo_id>.jpg?"; err == nil || err.Error() != want || report["pictures_missing"] != 7 {
		t.Errorf("error %v, want %s; report %v", err, want, report)
	}
}

// claims is an archive whose picture is said to have size bytes.
func claims(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "p1.jpg", Size: size, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, 512)...)
}

func TestBadPhotoLines(t *testing.T) {
	photos := folderOf(t, files(t))
	for _, c := range []struct{ line, want string }{
		{`{"business_id": "b1"}`, `:9: no field "photo_id"`},
		{photoLine("p1", "b9", "food"), `:9:14: field "photo_id" is "p1", which a line before has`},
		{photoLine("px", "", "food"), `:9:35: field "business_id" is empty`},
		{`{"photo_id": "px", "business_id": "b", "label": 3}`, `:9:49: field "label" is a number`},
	} {
		path := write(t, "photos.json", []byte(listed+"\n"+c.line))
		_, _, err := readPhotos(t, Photos{}, path, photos...)
		if err == nil || !strings.HasPrefix(err.Error(), path+c.want) {
			t.Errorf("%s: error %v, want %s", c.line, err, c.want)
		}
	}
}

func TestPhotosValidate(t *testing.T) {
	for _, c := range []struct {
		labels []string
		want   string
	}{
		{[]string{"food", "menu"}, ""},
		{[]string{"food", "menu", "food"}, `has "food" twice`},
		{nil, `must name a label, such as "food"`},
	} {
		got := ""
		for _, p := range (&Photos{Labels: c.labels}).Validate() {
			got += p.Message
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.labels, got, c.want)
		}
	}
}
