package pipelines_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/tables"
)

// A member is a file of an archive.
type member struct{ name, content string }

func writeArchive(t *testing.T, path string, members ...member) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// yelpDataset are the members of yelp_dataset.tar: 12 users who reviewed 6 of 8
// businesses each.
func yelpDataset() []member {
	var reviews, businesses strings.Builder
	for b := range 8 {
		fmt.Fprintf(&businesses, `{"business_id":"b%d","name":"Place %d","city":"Tucson","state":"AZ","attributes":{"WiFi":"u'free'","HasTV":"True"},"categories":"Food, Bars"}`+"\n", b, b)
	}
	for u := range 12 {
		for i := range 6 {
			fmt.Fprintf(&reviews, `{"review_id":"r","user_id":"u%02d","business_id":"b%d","stars":%d.0,"text":"","date":"20%02d-01-03 15:28:18"}`+"\n", u, (u+i)%8, 1+i%5, 18-i)
		}
	}
	return []member{
		{"Dataset_User_Agreement.pdf", "%PDF"},
		{"yelp_academic_dataset_business.json", businesses.String()},
		{"yelp_academic_dataset_review.json", reviews.String()},
	}
}

// yelpPhotos are the members of yelp_photos.tar: two photos of each business but
// the last.
func yelpPhotos(t *testing.T) []member {
	t.Helper()
	var list strings.Builder
	var members []member
	for b := range 7 {
		for i, label := range []string{"outside", "food"} {
			id := fmt.Sprintf("p%d%d", b, i)
			fmt.Fprintf(&list, `{"photo_id": "%s", "business_id": "b%d", "caption": "", "label": "%s"}`+"\n", id, b, label)
			picture := image.NewRGBA(image.Rect(0, 0, 40, 30))
			for at := range 40 * 30 {
				picture.Set(at%40, at/40, color.RGBA{uint8(at * (b + 1)), uint8(i * 200), uint8(at), 255})
			}
			var data bytes.Buffer
			if err := jpeg.Encode(&data, picture, nil); err != nil {
				t.Fatal(err)
			}
			members = append(members, member{"photos/" + id + ".jpg", data.String()})
		}
	}
	return append(members, member{"photos.json", list.String()})
}

// TestYelp runs the pipeline on archives of the shape of Yelp's, and then on
// what they hold, which changes nothing from the first tables on.
func TestYelp(t *testing.T) {
	torchtest.Open(t)
	dir, cache := t.TempDir(), t.TempDir()
	dataset, photos := yelpDataset(), yelpPhotos(t)
	writeArchive(t, filepath.Join(dir, "yelp_dataset.tar"), dataset...)
	writeArchive(t, filepath.Join(dir, "yelp_photos.tar"), photos...)
	for _, m := range slices.Concat(dataset, photos) {
		path := filepath.Join(dir, m.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(m.content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	weights, err := filepath.Abs("../model/clip/testdata/clip_tiny")
	if err != nil {
		t.Fatal(err)
	}
	common := func(params map[string]string) map[string]string {
		params["weights"], params["epochs"] = weights, "1"
		return params
	}

	e := runShipped(t, "yelp.toml", common(map[string]string{
		"dataset": filepath.Join(dir, "yelp_dataset.tar"), "photos": filepath.Join(dir, "yelp_photos.tar"),
	}), cache)
	sequences := result[tables.Sequence](t, e, "corpus.sequences")
	if len(sequences) != 12 || !slices.Equal(sequences[0].Items, []int32{6, 5, 4, 3, 2, 1}) {
		t.Errorf("%d sequences, the first %v: want the order of the dates", len(sequences), sequences[0].Items)
	}
	images := result[tables.Image](t, e, "images.images")
	if len(images) != 8 || images[0].FinalURL != "p01.jpg" || images[7].Error != "no photo is known" {
		t.Errorf("%d pictures, the first %q, the last %q", len(images), images[0].FinalURL, images[7].Error)
	}
	features := result[tables.Features](t, e, "embed.features")
	if !features[0].ImagePresent || !features[7].TextPresent || features[7].ImagePresent {
		t.Errorf("features of %+v and %+v", features[0], features[7])
	}
	if metrics := result[tables.Metric](t, e, "evaluate.metrics"); len(metrics) == 0 {
		t.Error("no metrics")
	}

	_, report := reportShipped(t, "yelp.toml", common(map[string]string{
		"reviews":    filepath.Join(dir, "yelp_academic_dataset_review.json"),
		"businesses": filepath.Join(dir, "yelp_academic_dataset_business.json"),
		"photos":     filepath.Join(dir, "photos.json"), "pictures": filepath.Join(dir, "photos"),
	}), cache)
	var ran []string
	for _, s := range report.Stages {
		if s.State == "ran" {
			ran = append(ran, s.Name)
		}
	}
	slices.Sort(ran)
	if want := []string{"businesses", "images", "reviews"}; !slices.Equal(ran, want) {
		t.Errorf("on the files themselves %v ran, want %v", ran, want)
	}

	e = runShipped(t, "yelp.toml", common(map[string]string{
		"dataset": filepath.Join(dir, "yelp_dataset.tar"), "photos": filepath.Join(dir, "yelp_photos.tar"), "per_business": "2",
	}), cache)
	if images := result[tables.Image](t, e, "images.images"); len(images) != 15 || images[1].FinalURL != "p00.jpg" {
		t.Errorf("%d pictures, the second %q", len(images), images[1].FinalURL)
	}
}
