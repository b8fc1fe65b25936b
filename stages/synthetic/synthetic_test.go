package synthetic

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"image/png"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/synthetic/site"
)

func small() settings {
	return settings{
		users: 400, items: 360, looks: 4, topics: 3, length: 9, faithful: 0.9, skew: 0.5,
		visual: 0.3, textual: 0.3, cross: 0.3, optimumPositions: 10,
	}
}

// A faithful user's history must be mostly what it prefers, and a history never
// repeats an item: that is the structure that a model is to find.
func TestPreferencesAreFollowed(t *testing.T) {
	w := drawn(t, small(), 1)
	followed, all := map[string]float64{}, map[string]float64{}
	for _, u := range w.users {
		seen := map[int]bool{}
		for _, index := range u.history {
			if seen[index] {
				t.Fatalf("user %s had item %d twice", u.id, index)
			}
			seen[index] = true
			all[u.group]++
			if u.prefers(w.items[index]) {
				followed[u.group]++
			}
		}
	}
	for _, group := range []string{GroupVisual, GroupTextual, GroupCross} {
		if share := followed[group] / all[group]; share < 0.85 {
			t.Errorf("%s users follow their preference in %.2f of their interactions", group, share)
		}
	}
	if share := followed[GroupNone] / all[GroupNone]; share != 1 {
		t.Errorf("users without a preference prefer everything, not %.2f", share)
	}
}

// The optimum is the probability that is left when the k largest are taken, so
// the answers must hit the k most probable items that often.
func TestOptimumIsReached(t *testing.T) {
	s := small()
	s.users = 4000
	w := drawn(t, s, 2)
	var expected, hits, variance float64
	for i := range w.users {
		u := &w.users[i]
		answer := u.history[len(u.history)-1]
		seen := map[int]bool{}
		for _, index := range u.history[:len(u.history)-1] {
			seen[index] = true
		}
		chances := w.chances(u, seen)
		better := 0
		for _, p := range chances {
			if p > chances[answer] {
				better++
			}
		}
		if better < s.optimumPositions {
			hits++
		}
		expected += u.optimum
		variance += u.optimum * (1 - u.optimum)
	}
	if difference := math.Abs(hits - expected); difference > 4*math.Sqrt(variance) {
		t.Errorf("%v hits where %.1f ± %.1f are expected", hits, expected, math.Sqrt(variance))
	}
}

func TestSameSeedSameFiles(t *testing.T) {
	first, second := generate(t, 3), generate(t, 3)
	if !bytes.Equal(first.reviews, second.reviews) || !bytes.Equal(first.metadata, second.metadata) {
		t.Error("the same seed gave different files")
	}
	if !bytes.Equal(first.pictures, second.pictures) {
		t.Error("the same seed gave different pictures")
	}
	if other := generate(t, 4); bytes.Equal(first.reviews, other.reviews) {
		t.Error("another seed gave the same reviews")
	}
}

type generated struct {
	reviews, metadata, pictures []byte
	path                        string // of the pictures
	counts                      map[string]float64
}

func generate(t *testing.T, seed int64) generated {
	t.Helper()
	dir := t.TempDir()
	stage := Amazon{
		Seed: seed, Users: 50, Items: 40, Looks: 4, Topics: 3, Length: 7, Visual: 0.3, Textual: 0.3, Cross: 0.3,
		Faithful: 0.9, WithoutImage: 0.2, Faulty: 0.6,
		Reviews:  stages.ToPlainFile(filepath.Join(dir, "reviews")),
		Metadata: stages.ToPlainFile(filepath.Join(dir, "metadata")),
		Pictures: stages.ToPlainFile(filepath.Join(dir, "pictures")),
	}
	planted := stagetest.Result(t, &stage.Planted)
	env := stagetest.Env(t)
	if err := stage.Run(context.Background(), env); err != nil {
		t.Fatal(err)
	}
	if n := len(planted()); n != 50 {
		t.Errorf("%d planted users, want 50", n)
	}
	return generated{read(t, dir, "reviews"), read(t, dir, "metadata"), read(t, dir, "pictures"), filepath.Join(dir, "pictures"), stagetest.Counts(env)}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestPicturesGolden pins the archive, whose bytes are part of the keys of what
// is downloaded: no version of Go or of a library is to change them.
func TestPicturesGolden(t *testing.T) {
	const want = "1adf130ff7cc803e0d5e6829f523708b6b838c3fbc146e0c3ffcf6f4a336f274"
	sum := sha256.Sum256(generate(t, 3).pictures)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("sha256 %s, want %s", got, want)
	}
}

var imageURL = regexp.MustCompile(`'imUrl': '([^']+)'`)

// TestPicturesAreServed asks for each picture of the metadata twice, as a
// client that tries again does, and counts what comes.
func TestPicturesAreServed(t *testing.T) {
	world := generate(t, 5)
	proxy, stop, err := site.Start(t.Context(), world.path)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
	asked, arrived := 0.0, 0.0
	for _, match := range imageURL.FindAllSubmatch(inflated(t, world.metadata), -1) {
		asked++
		address := string(match[1])
		came := pictureAt(t, client, address)
		if !came {
			came = pictureAt(t, client, address)
		}
		if came {
			arrived++
		}
	}
	if asked != world.counts["pictures"] || asked == 0 || asked == 40 {
		t.Errorf("the metadata names %v pictures of 40 items, of which a fifth should have none; counted %v", asked, world.counts["pictures"])
	}
	lost := 0.0
	for _, b := range []site.Behaviour{site.Missing, site.Gone, site.HTML, site.Truncated} {
		lost += world.counts["pictures_"+string(b)]
	}
	if arrived != asked-lost || lost == 0 {
		t.Errorf("%v of %v pictures arrive, and %v should be lost", arrived, asked, lost)
	}
}

// pictureAt says whether there is a picture at an address, now.
func pictureAt(t *testing.T, client *http.Client, address string) bool {
	t.Helper()
	response, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	img, err := png.Decode(response.Body)
	return err == nil && response.StatusCode == 200 && img.Bounds() == image.Rect(0, 0, pictureSide, pictureSide)
}

func inflated(t *testing.T, data []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The share of faulty pictures, and their proportions, are as announced, and
// how the site behaves changes neither items nor users.
func TestFaults(t *testing.T) {
	s := small()
	s.items, s.users, s.faulty = 20_000, 10, 0.3
	w := drawn(t, s, 1)
	counts := map[site.Behaviour]float64{}
	for _, it := range w.items {
		counts[it.behaviour]++
	}
	var weights float64
	for _, f := range faults {
		weights += f.weight
	}
	for _, f := range faults {
		want := float64(s.items) * s.faulty * f.weight / weights
		if got := counts[f.behaviour]; math.Abs(got-want) > 4*math.Sqrt(want) {
			t.Errorf("%v pictures are %s, and %.0f are expected", got, f.behaviour, want)
		}
	}
	s.faulty = 0
	for i, it := range drawn(t, s, 1).items {
		w.items[i].behaviour = site.Sent
		if it != w.items[i] {
			t.Fatalf("item %d is %+v, and %+v where pictures are faulty", i, it, w.items[i])
		}
	}
}

func TestPythonString(t *testing.T) {
	for in, want := range map[string]string{
		`plain`:         `'plain'`,
		`O'Hara & Sons`: `"O'Hara & Sons"`,
		`both ' and "`:  `'both \' and "'`,
		`back\slash`:    `'back\\slash'`,
	} {
		if got := pythonString(in); got != want {
			t.Errorf("pythonString(%s) = %s, want %s", in, got, want)
		}
	}
}

func drawn(t *testing.T, s settings, seed uint64) *world {
	t.Helper()
	w, err := newWorld(t.Context(), s, seed)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The largest world would take days; it can be called off all the same.
func TestDrawingCanBeCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := small()
	s.users = 10_000_000
	if _, err := newWorld(ctx, s, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
