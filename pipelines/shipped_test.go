package pipelines_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/kinds"
)

func allKinds(t *testing.T) stages.Registry {
	t.Helper()
	registry, err := kinds.All()
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// given are the parameters that a shipped pipeline does not run without.
var given = map[string]map[string]string{
	"amazon.toml":                         {"reviews": "reviews.json.gz", "metadata": "meta.json.gz"},
	"movielens.toml":                      {"ratings": "ratings.csv", "movies": "movies.csv", "tags": "tags.csv", "posters": "http://localhost/posters"},
	"sequences.toml":                      {"file": "Beauty.txt"},
	"tabular.toml":                        {"interactions": "orders.parquet", "items": "products.csv"},
	"yelp.toml":                           {"dataset": "yelp_dataset.tar", "photos": "yelp_photos.tar"},
	"bench/beauty_indirec.toml":           {"file": "Beauty.txt"},
	"bench/beauty_prism_attributes.toml":  {"file": "Beauty.txt", "attributes": "attributes.json"},
	"bench/beauty_sasrec_bce.toml":        {"file": "Beauty.txt"},
	"bench/beauty_sasrec_ce.toml":         {"file": "Beauty.txt"},
	"bench/beauty_sasrec_sampled_ce.toml": {"file": "Beauty.txt"},
	"bench/beauty_stosa.toml":             {"file": "Beauty.txt"},
}

func TestShippedPipelines(t *testing.T) {
	names := pipelines.EmbeddedNames()
	for _, name := range append([]string{"beauty.toml", "demo.toml", "home.toml", "sports.toml"}, slices.Sorted(maps.Keys(given))...) {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not shipped", name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			p, err := pipelines.Load(pipelines.EmbeddedPrefix+name, pipelines.Options{Registry: allKinds(t), Params: given[name]})
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Warnings) > 0 {
				t.Errorf("warnings: %v", p.Warnings)
			}
			if p.Name+".toml" != path.Base(name) || p.Description == "" {
				t.Errorf("is named %s, described %q", p.Name, p.Description)
			}
			text, _ := pipelines.Embedded(name)
			if len(p.Params) == 0 || !strings.Contains(string(text), "evaluate") {
				t.Error("has no parameters, or is not evaluated")
			}
		})
	}
}

// A model can be used without its corpus only if it holds the items' ids.
func TestShippedModelsHoldTheirItems(t *testing.T) {
	for _, name := range pipelines.EmbeddedNames() {
		p, err := pipelines.Load(pipelines.EmbeddedPrefix+name, pipelines.Options{Registry: allKinds(t), Params: given[name]})
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range p.Stages {
			wired := slices.ContainsFunc(spec.Stage.Inputs(), func(in stages.Input) bool { return in.Port == "items" })
			if spec.Kind == "prism.train" && !wired {
				t.Errorf("%s: stage %s: items is not wired", name, spec.Name)
			}
		}
	}
}

// TestCategoriesDifferInTheirDataAlone keeps what one of them learns in all.
func TestCategoriesDifferInTheirDataAlone(t *testing.T) {
	shape := func(name, title, file string) string {
		text, _ := pipelines.Embedded(name + ".toml")
		return strings.NewReplacer(file, "CATEGORY", title, "CATEGORY", name+".toml", "NAME.toml", `"`+name+`"`, `"NAME"`).Replace(string(text))
	}
	want := shape("sports", "Sports and Outdoors", "Sports_and_Outdoors")
	for _, got := range []string{shape("beauty", "Beauty", "Beauty"), shape("home", "Home and Kitchen", "Home_and_Kitchen")} {
		if got != want {
			t.Errorf("differs from sports.toml:\n%s", got)
		}
	}
}

// Their comment says how to do without CLIP.
func TestHashedInPlaceOfCLIP(t *testing.T) {
	text, _ := pipelines.Embedded("sports.toml")
	hashed := strings.NewReplacer(`kind = "clip.embed"`, `kind = "features.hashed"`, "weights = \"${params.weights}\"\n", "").Replace(string(text))
	list := diagnose(t, hashed)
	if len(list) != 1 || list[0].Severity != pipelines.Warning || !strings.Contains(list[0].Message, "weights") {
		t.Errorf("got %v, want to hear that the parameter weights is not used", list)
	}
}

// The README lists what is shipped, and nothing else.
func TestShippedPipelinesAreListed(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, match := range regexp.MustCompile("(?m)`([a-z_/0-9]+\\.toml)`").FindAllSubmatch(readme, -1) {
		listed = append(listed, string(match[1]))
	}
	slices.Sort(listed)
	if want := pipelines.EmbeddedNames(); !slices.Equal(slices.Compact(listed), want) {
		t.Errorf("README.md names %v, want %v", listed, want)
	}
}

func TestEmbeddedIsOnlyWhatIsShipped(t *testing.T) {
	for _, name := range []string{"bench", "bench/", "beauty_sasrec_ce.toml", "../pipelines/demo.toml", "./demo.toml", "/demo.toml", ""} {
		if _, ok := pipelines.Embedded(name); ok {
			t.Errorf("%q is a shipped pipeline", name)
		}
	}
}

func TestWhatHasToBeGivenIsSaid(t *testing.T) {
	_, err := pipelines.Load("embedded:sequences.toml", pipelines.Options{Registry: allKinds(t)})
	if err == nil || !strings.Contains(err.Error(), "set it with -p file=…") {
		t.Errorf("got %v", err)
	}
}

// TestNoKindTakesACommonKey keeps kinds from declaring what every stage has.
func TestNoKindTakesACommonKey(t *testing.T) {
	common := []string{"kind", "after", "resources", "timeout", "retries", "cache"}
	for _, kind := range allKinds(t).Kinds() {
		for _, port := range kind.Inputs {
			if slices.Contains(common, port.Name) {
				t.Errorf("%s has an input %s", kind.Name, port.Name)
			}
		}
		for _, param := range kind.Params {
			if slices.Contains(common, param.Name) {
				t.Errorf("%s has a parameter %s", kind.Name, param.Name)
			}
		}
	}
}

// TestExamplesLoad loads every kind's example, in a pipeline whose other stages
// are not there.
func TestExamplesLoad(t *testing.T) {
	for _, kind := range allKinds(t).Kinds() {
		if kind.Example == "" {
			t.Errorf("%s has no example", kind.Name)
			continue
		}
		for _, d := range diagnose(t, kind.Example) {
			if d.Severity == pipelines.Error && !strings.Contains(d.Message, "there is no stage") && !strings.Contains(d.Message, "there is no parameter") {
				t.Errorf("%s: %s", kind.Name, d)
			}
		}
	}
}

func diagnose(t *testing.T, text string) []pipelines.Diagnostic {
	t.Helper()
	path := filepath.Join(t.TempDir(), "example.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := pipelines.Load(path, pipelines.Options{Registry: allKinds(t)})
	if err == nil {
		return p.Warnings
	}
	invalid, ok := err.(*pipelines.Invalid)
	if !ok {
		t.Fatal(err)
	}
	return invalid.Diagnostics
}

// TestDocumentedPipelines loads every TOML block of the grammar's reference.
func TestDocumentedPipelines(t *testing.T) {
	data, err := os.ReadFile("../docs/pipelines.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(data), "```toml\n")[1:]
	if len(blocks) < 5 {
		t.Fatalf("there are only %d", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		if list := diagnose(t, text); len(list) > 0 {
			t.Errorf("%v in:\n%s", list, text)
		}
	}
}

// TestDocumentedDiagnostics checks that the reference quotes the golden file.
func TestDocumentedDiagnostics(t *testing.T) {
	doc, err := os.ReadFile("../docs/pipelines.md")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/five.golden")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(string(golden), "testdata/", ""); !strings.Contains(string(doc), want) {
		t.Errorf("the reference does not say:\n%s", want)
	}
}
