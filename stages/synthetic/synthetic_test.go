package synthetic

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
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
	if diff := cmp.Diff(first.images, second.images); diff != "" {
		t.Errorf("the same seed gave different pictures: %s", diff)
	}
	if other := generate(t, 4); bytes.Equal(first.reviews, other.reviews) {
		t.Error("another seed gave the same reviews")
	}
}

type generated struct {
	reviews, metadata []byte
	images            []tables.Image
}

func generate(t *testing.T, seed int64) generated {
	t.Helper()
	dir := t.TempDir()
	stage := Amazon{
		Seed: seed, Users: 50, Items: 40, Looks: 4, Topics: 3, Length: 7, Visual: 0.3, Textual: 0.3, Cross: 0.3,
		Faithful: 0.9, WithoutImage: 0.2,
		Reviews:  stages.ToPlainFile(filepath.Join(dir, "reviews")),
		Metadata: stages.ToPlainFile(filepath.Join(dir, "metadata")),
	}
	images := stagetest.Result(t, &stage.Images)
	planted := stagetest.Result(t, &stage.Planted)
	if err := stage.Run(context.Background(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
	if n := len(planted()); n != 50 {
		t.Errorf("%d planted users, want 50", n)
	}
	return generated{read(t, dir, "reviews"), read(t, dir, "metadata"), images()}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPicturesArePictures(t *testing.T) {
	present := 0
	for _, row := range generate(t, 5).images {
		if len(row.Bytes) == 0 {
			if row.Error == "" {
				t.Errorf("item %s has neither a picture nor a cause", row.Item)
			}
			continue
		}
		present++
		img, err := png.Decode(bytes.NewReader(row.Bytes))
		if err != nil {
			t.Fatalf("item %s: %v", row.Item, err)
		}
		if b := img.Bounds(); b.Dx() != int(row.Width) || b.Dy() != int(row.Height) {
			t.Errorf("item %s: %v, and the row says %d×%d", row.Item, b, row.Width, row.Height)
		}
	}
	if present == 0 || present == 40 {
		t.Errorf("%d of 40 items have a picture, and a fifth should have none", present)
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
