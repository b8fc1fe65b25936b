package main

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/stagetest"
)

// posterServer serves posters by their names and counts what it sends.
type posterServer struct {
	*httptest.Server

	mu        sync.Mutex
	posters   map[string][]byte
	asked     int
	sent      []string // names of the posters that were sent whole
	unchanged int
}

func newPosterServer(t *testing.T, dir string) *posterServer {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no posters in %s (%v)", dir, err)
	}
	s := &posterServer{posters: map[string][]byte{}}
	for _, file := range files {
		if s.posters[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *posterServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	name := path.Base(r.URL.Path)
	poster, ok := s.posters[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf("\"%x\"", sha256.Sum256(poster))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		s.unchanged++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.sent = append(s.sent, name)
	_, _ = w.Write(poster)
}

// since is what the server did since it was last asked.
func (s *posterServer) since() (asked, unchanged int, sent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, unchanged, sent = s.asked, s.unchanged, slices.Sorted(slices.Values(s.sent))
	s.asked, s.unchanged, s.sent = 0, 0, nil
	return asked, unchanged, sent
}

// change makes another file of a poster; what follows a picture's end says nothing.
func (s *posterServer) change(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posters[name] = append(slices.Clip(s.posters[name]), "new"...)
}

// distinct is how many different posters these movies have.
func (s *posterServer) distinct(movies []string) int {
	seen := map[[sha256.Size]byte]bool{}
	for _, movie := range movies {
		seen[sha256.Sum256(s.posters[movie+".jpg"])] = true
	}
	return len(seen)
}

// moviesOnly copies a MovieLens file with the rows of these movies alone.
func moviesOnly(t *testing.T, from, to string, wanted func(movie string) bool) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	movie := slices.Index(rows[0], "movieId")
	kept := slices.DeleteFunc(rows[1:], func(row []string) bool { return !wanted(row[movie]) })
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := csv.NewWriter(out).WriteAll(append(rows[:1:1], kept...)); err != nil {
		t.Fatal(err)
	}
}

// A movieLens is the shipped pipeline with its files in a directory.
type movieLens struct {
	process
	data    string
	posters *posterServer
}

func (m movieLens) write(t *testing.T, wanted func(movie string) bool) {
	t.Helper()
	for _, name := range []string{"ratings.csv", "movies.csv", "tags.csv"} {
		moviesOnly(t, filepath.Join(m.data, name), filepath.Join(m.dir, name), wanted)
	}
}

func (m movieLens) run(t *testing.T, extra ...string) map[string]engine.StageReport {
	t.Helper()
	weights, err := filepath.Abs("../../model/clip/testdata/clip_tiny")
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{"run", "movielens", "--json", "-p", "allow_private=true", "-p", "requests_per_second=0", "-p", "epochs=1", "-p", "weights=" + weights, "-p", "posters=" + m.posters.URL}
	for _, file := range []string{"ratings", "movies", "tags"} {
		arguments = append(arguments, "-p", file+"="+filepath.Join(m.dir, file+".csv"))
	}
	cmd := m.command(append(arguments, extra...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		t.Fatalf("run: %v\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	var report engine.Report
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil {
		t.Fatal(err)
	}
	stages := map[string]engine.StageReport{}
	for _, stage := range report.Stages {
		stages[stage.Name] = stage
	}
	return stages
}

func counted(stage engine.StageReport, name string) float64 {
	for _, count := range stage.Report {
		if count.Name == name {
			return count.Value
		}
	}
	return 0
}

// TestMovieLens runs the pipeline on real ratings, texts and posters, then with
// ten movies more, then after a poster changed: only what is new is asked for and
// embedded.
func TestMovieLens(t *testing.T) {
	data := stagetest.RealData(t, "movielens")
	if _, err := gotorch.Find(t.Context(), torchtest.Options()); err != nil && os.Getenv("CI") != "true" {
		t.Skipf("needs libtorch: %v", err)
	}
	m := movieLens{process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}, data, newPosterServer(t, filepath.Join(data, "posters"))}
	var movies []string
	for name := range m.posters.posters {
		movies = append(movies, strings.TrimSuffix(name, ".jpg"))
	}
	slices.Sort(movies)
	later := movies[100:110]
	earlier := slices.DeleteFunc(slices.Clone(movies), func(movie string) bool { return slices.Contains(later, movie) })
	hasPoster := func(movie string) bool { _, ok := slices.BinarySearch(movies, movie); return ok }

	m.write(t, func(movie string) bool { return slices.Contains(earlier, movie) })
	first := m.run(t)
	if asked, _, sent := m.posters.since(); asked != 470 || len(sent) != 470 {
		t.Errorf("%d requests and %d posters, want 470 of both", asked, len(sent))
	}
	if made, want := counted(first["embed"], "images_embedded"), m.posters.distinct(earlier); made != float64(want) {
		t.Errorf("%v pictures embedded, want %d: %v", made, want, first["embed"].Report)
	}
	for _, evaluation := range []string{"evaluate_clip", "evaluate_hashed"} {
		if first[evaluation].State != "ran" {
			t.Errorf("%s: %+v", evaluation, first[evaluation])
		}
	}

	for name, stage := range m.run(t) {
		if stage.State != "cached" {
			t.Errorf("again: %s is %s: %s", name, stage.State, stage.Reason)
		}
	}

	m.write(t, hasPoster)
	more := m.run(t, "embed") // training and evaluation are as they were
	var want []string
	for _, movie := range later {
		want = append(want, movie+".jpg")
	}
	slices.Sort(want)
	if asked, _, sent := m.posters.since(); asked != 10 || !slices.Equal(sent, want) {
		t.Errorf("ten movies more: %d requests, sent were %v, want %v", asked, sent, want)
	}
	for _, c := range []struct {
		stage, count string
		want         float64
	}{{"images", "downloaded", 10}, {"images", "reused", 470}, {"embed", "images_embedded", 10}, {"embed", "images_reused", 470}} {
		if got := counted(more[c.stage], c.count); got != c.want {
			t.Errorf("ten movies more: %s counts %v %s, want %v: %v", c.stage, got, c.count, c.want, more[c.stage].Report)
		}
	}
	for _, stage := range []string{"images", "embed"} {
		if !strings.HasPrefix(more[stage].Reason, "input i") || !strings.HasSuffix(more[stage].Reason, " changed") {
			t.Errorf("ten movies more: the reason of %s is %q", stage, more[stage].Reason)
		}
	}

	m.posters.change(want[0])
	if images := m.run(t, "embed")["images"]; images.State != "cached" {
		t.Errorf("a changed poster that nobody asks for: images is %s: %s", images.State, images.Reason)
	}
	if asked, _, _ := m.posters.since(); asked != 0 {
		t.Errorf("%d requests without revalidate", asked)
	}
	changed := m.run(t, "embed", "-p", "revalidate=true")
	if asked, unchanged, sent := m.posters.since(); asked != 480 || unchanged != 479 || !slices.Equal(sent, want[:1]) {
		t.Errorf("revalidate: %d requests, %d unchanged, sent were %v", asked, unchanged, sent)
	}
	if made := counted(changed["embed"], "images_embedded"); made != 1 {
		t.Errorf("revalidate: %v pictures embedded: %v", made, changed["embed"].Report)
	}
}
