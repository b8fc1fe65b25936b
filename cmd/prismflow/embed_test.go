package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/tables"
)

// tinyClip is the directory of a CLIP model of two small layers.
func tinyClip(t *testing.T) string {
	t.Helper()
	if _, err := gotorch.Find(t.Context(), torchtest.Options()); err != nil {
		t.Skipf("needs libtorch: %v", err)
	}
	dir, err := filepath.Abs("../../model/clip/testdata/clip_tiny")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// embedPipeline writes a pipeline that embeds the texts of so many items.
func embedPipeline(t *testing.T, dir, weights string, items int) {
	t.Helper()
	var reviews, meta strings.Builder
	for i := range items {
		fmt.Fprintf(&reviews, "{\"reviewerID\": \"A\", \"asin\": \"B%05d\", \"overall\": 5.0, \"unixReviewTime\": %d}\n", i, 1_300_000_000+i)
		fmt.Fprintf(&meta, "{\"asin\": \"B%05d\", \"title\": \"thing number %d%s\"}\n", i, i, strings.Repeat(" of many", i%20))
	}
	pipeline := fmt.Sprintf(`
[stages.reviews]
kind   = "amazon.reviews"
source = "./reviews.json"

[stages.metadata]
kind   = "amazon.metadata"
source = "./meta.json"

[stages.corpus]
kind         = "corpus"
interactions = "reviews.interactions"
items        = "metadata.items"
min_core     = 1

[stages.embed]
kind    = "clip.embed"
items   = "corpus.items"
weights = %q
device  = "cpu"
`, weights)
	for name, text := range map[string]string{"reviews.json": reviews.String(), "meta.json": meta.String(), "p.toml": pipeline} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// killAt runs the program and kills it when the stage embed is at so many items.
// It may have ended by then.
func killAt(t *testing.T, p process, items int64) (reached int64, killed bool) {
	t.Helper()
	cmd := p.command("run", "p.toml", "--json")
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event dag.Event
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.Stage == "embed" && event.Unit == "items" && event.Done >= items {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // "signal: killed"
			return event.Done, !cmd.ProcessState.Success()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return 0, false
}

// embedPicturesPipeline writes a pipeline that embeds the pictures of so many
// items, each another one, out of a directory.
func embedPicturesPipeline(t *testing.T, dir, weights string, items int) {
	t.Helper()
	embedPipeline(t, dir, weights, items)
	pictures := filepath.Join(dir, "pictures")
	if err := os.MkdirAll(pictures, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range items {
		picture := image.NewGray(image.Rect(0, 0, 16, 16))
		for at := range picture.Pix {
			picture.Pix[at] = byte(at * (i + 1) / 7)
		}
		copy(picture.Pix, fmt.Sprintf("%d", i))
		var buf bytes.Buffer
		if err := png.Encode(&buf, picture); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(pictures, fmt.Sprintf("B%05d.png", i)), buf.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "p.toml")
	pipeline, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pipeline = append(pipeline, `images  = "images.images"
modalities = ["image"]

[stages.images]
kind      = "images.download"
items     = "corpus.items"
directory = "./pictures"
`...)
	if err := os.WriteFile(file, pipeline, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestKilledEmbedding kills runs while they embed. The next run has all that was
// made but the batch in flight, and comes to what an undisturbed run comes to.
func TestKilledEmbedding(t *testing.T) {
	for _, c := range []struct {
		what  string
		items int64
		write func(t *testing.T, dir, weights string, items int)
	}{
		{"texts", 2000, embedPipeline}, {"pictures", 2000, embedPicturesPipeline},
	} {
		t.Run(c.what, func(t *testing.T) {
			killEmbedding(t, regexp.MustCompile(`(\d+) `+c.what+` known, (\d+) new`), c.items, c.write)
		})
	}
}

func killEmbedding(t *testing.T, known *regexp.Regexp, items int64, write func(t *testing.T, dir, weights string, items int)) {
	const kills = 3
	weights := tinyClip(t)
	undisturbed := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	write(t, undisturbed.dir, weights, int(items))
	undisturbed.must(t, "run", "p.toml")
	want := undisturbed.digests(t, "p.toml")["embed.features"]

	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	write(t, p.dir, weights, int(items))
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	reached, midway := int64(0), 0
	for i := range int64(kills) {
		at := int64(1) // the first word of progress is of the first batch, however fast the machine is
		if i > 0 {
			at = items/(kills+1)*i + 1 + random.Int64N(items/(kills+1))
		}
		done, killed := killAt(t, p, at)
		t.Logf("seed %d: killed at %d items: %v", seed, done, killed)
		if !killed { // progress is told now and then, and the rest may have been done by the time of the kill
			break
		}
		if reached = done; reached < items {
			midway++
		}
	}
	if midway == 0 {
		t.Error("no kill came before the end: the test tested nothing")
	}
	p.must(t, "run", "p.toml")
	log := p.must(t, "logs", "p.toml", "embed")
	found := known.FindStringSubmatch(log)
	if found == nil {
		t.Fatalf("the log does not say what was known:\n%s", log)
	}
	had, _ := strconv.ParseInt(found[1], 10, 64)
	fresh, _ := strconv.ParseInt(found[2], 10, 64)
	t.Logf("killed at %d items, and %d were known then", reached, had)
	if had < reached {
		t.Errorf("%d of the %d that were embedded are not known after a kill", reached-had, reached)
	}
	if had+fresh != items {
		t.Errorf("%d known and %d new of %d", had, fresh, items)
	}
	if got := p.digests(t, "p.toml")["embed.features"]; got != want {
		t.Errorf("after the kills the features are %s, and undisturbed %s", got, want)
	}
}

// TestEmbedFromHub fetches the model from a server that behaves as a hub does.
func TestEmbedFromHub(t *testing.T) {
	weights := tinyClip(t)
	const commit = "0123456789abcdef0123456789abcdef01234567"
	var asked atomic.Int64
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch name := filepath.Base(r.URL.Path); {
		case r.Header.Get("Authorization") != "Bearer hunter2":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/api/models/some/clip/revision/main":
			fmt.Fprintf(w, `{"sha": %q, "siblings": [{"rfilename": "config.json"}, {"rfilename": "preprocessor_config.json"},
				{"rfilename": "vocab.json"}, {"rfilename": "merges.txt"}, {"rfilename": "model.safetensors"}, {"rfilename": "x.py"}]}`, commit)
		case r.URL.Path == "/some/clip/resolve/"+commit+"/"+name:
			data, err := os.ReadFile(filepath.Join(weights, name))
			if err != nil {
				t.Error(err)
			}
			if filepath.Ext(name) == ".safetensors" {
				w.Header().Set("X-Linked-Etag", strconv.Quote(artifacts.DigestOf(data).Hex()))
			} else {
				w.Header().Set("ETag", fmt.Sprintf("\"%x\"", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))))
			}
			_, _ = w.Write(data)
		default:
			http.NotFound(w, r)
		}
	}))
	defer hub.Close()
	t.Setenv("HF_ENDPOINT", hub.URL)

	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	embedPipeline(t, p.dir, "hf://some/clip", 20)
	if output, code := p.run("run", "p.toml"); code != 1 || !strings.Contains(output, "set HF_TOKEN") {
		t.Errorf("without a token: exit code %d\n%s", code, output)
	}
	t.Setenv("HF_TOKEN", "hunter2")
	if output, _ := p.run("status", "p.toml"); !strings.Contains(output, "hf://some/clip@main: not downloaded yet") {
		t.Errorf("status:\n%s", output)
	}
	asked.Store(0)
	output := p.must(t, "run", "p.toml") + p.must(t, "run", "p.toml", "--offline")
	if n := asked.Load(); n != 6 || strings.Contains(output, "hunter2") {
		t.Errorf("%d requests for a listing and five files\n%s", n, output)
	}
	rows, err := table.ReadAll[tables.Features](filepath.Join(p.dir, "out", "p", "embed", "features.arrow"))
	if err != nil || len(rows) != 20 || !rows[0].TextPresent {
		t.Errorf("%d rows, %v", len(rows), err)
	}

	embedPipeline(t, p.dir, weights, 20)
	if output := p.must(t, "run", "p.toml"); !strings.Contains(output, "cached   embed") {
		t.Errorf("a directory with the same files:\n%s", output)
	}
}
