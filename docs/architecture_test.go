package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/prismflow/prismflow"
	root   = ".." // of the module, from this package
)

// arrows are the folders that the packages of a folder may import, beside the
// packages of their own. What is not here is forbidden.
var arrows = map[string][]string{
	"cmd":       {"pipelines", "stages", "dag", "artifacts", "model"},
	"pipelines": {"stages", "dag"},
	"stages":    {"dag", "artifacts", "model"},
	"dag":       {},
	"artifacts": {},
	"model":     {},
	"docs":      {"pipelines", "stages", "dag", "artifacts", "model"}, // the tests beside this one
}

// owners are the only folders that may import a library of others. Its types
// and its traps stay there.
var owners = map[string][]string{
	"github.com/apache/arrow/go/v17": {"artifacts"},
	"github.com/ebitengine/purego":   {"model/gotorch", "stages/gunzip", "stages/picture"},
	"golang.org/x/image":             {"stages/picture"},
	"github.com/BurntSushi/toml":     {"pipelines"},
	"github.com/spf13/cobra":         {"cmd"},
	"charm.land":                     {"cmd"},
	"gocloud.dev":                    {"artifacts/remote/cloud"},
	"github.com/aws":                 {"artifacts/remote/cloud"},
	"github.com/Azure":               {"artifacts/remote/cloud"},
	"cloud.google.com/go":            {"artifacts/remote/cloud"},
	"google.golang.org/api":          {"artifacts/remote/cloud"},
	"golang.org/x/oauth2":            {"artifacts/remote/cloud"},
	"github.com/prometheus":          {"artifacts/server"},
}

// TestArrows keeps imports pointing one way: cmd → pipelines → stages → {dag,
// artifacts, model}, and the last three apart.
func TestArrows(t *testing.T) {
	packages := listPackages(t)
	for _, p := range packages {
		for _, imported := range p.Imports {
			if why := forbidden(p.ImportPath, imported, arrows[folder(p.ImportPath)]); why != "" {
				t.Errorf("%s\n    %s", why, packages.chain(p.ImportPath, imported))
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if why := forbidden(p.ImportPath, imported, below(folder(p.ImportPath))); why != "" {
				t.Errorf("a test of %s", why)
			}
		}
	}
}

// The page names every package below the folders, so that a new one finds its
// place in it.
func TestArchitectureNamesPackages(t *testing.T) {
	page, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for path := range listPackages(t) {
		isDeep := strings.Contains(short(path), "/") && !within(short(path), "cmd")
		if isDeep && !bytes.Contains(page, []byte("`"+short(path)+"`")) {
			t.Errorf("architecture.md does not name %s", short(path))
		}
	}
}

// below are all folders that the arrows lead to from one: a test may look at
// whatever its package stands on.
func below(layer string) []string {
	var reached []string
	for _, next := range arrows[layer] {
		reached = append(append(reached, next), below(next)...)
	}
	return reached
}

// TestProgramHoldsNoTests: a helper for tests that a package of the program
// imports brings its flags and its weight along.
func TestProgramHoldsNoTests(t *testing.T) {
	packages := listPackages(t)
	for _, p := range packages {
		inProgram := packages.path(module+"/cmd/prismflow", p.ImportPath) != nil
		if inProgram && slices.Contains(p.Imports, "testing") {
			t.Errorf("the program imports testing\n    %s", packages.chain(p.ImportPath, "testing"))
		}
	}
}

// forbidden says why a package of this module may not import another one, or
// nothing, when its folder may import those of allowed.
func forbidden(from, to string, allowed []string) string {
	layer := folder(from)
	from = short(from)
	if within(to, module) {
		if next := folder(to); next == layer || slices.Contains(allowed, next) {
			return ""
		}
		return fmt.Sprintf("%s must not import %s: packages of %s may import %v", from, short(to), layer, allowed)
	}
	for library, folders := range owners {
		isOwner := slices.ContainsFunc(folders, func(owner string) bool { return within(from, owner) })
		if within(to, library) && !isOwner && layer != "docs" {
			return fmt.Sprintf("%s must not import %s: only packages of %s may", from, to, strings.Join(folders, " and "))
		}
	}
	return ""
}

// short is a package's path in the module.
func short(path string) string { return strings.TrimPrefix(path, module+"/") }

// folder is the first part of a package's path in the module.
func folder(path string) string {
	first, _, _ := strings.Cut(short(path), "/")
	return first
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// A goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// packageSet are the packages of this module by import path.
type packageSet map[string]goPackage

func listPackages(t *testing.T) packageSet {
	t.Helper()
	watchSources(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	packages := packageSet{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatalf("reading the answer of go list: %v", err)
		}
		if within(p.ImportPath, module) {
			packages[p.ImportPath] = p
		}
	}
}

// watchSources looks at every directory of Go files, so that `go test` does not
// take an older result of this test for one about the sources of now: what
// another process reads, it does not see.
func watchSources(t *testing.T) {
	t.Helper()
	for layer := range arrows {
		err := filepath.WalkDir(filepath.Join(root, layer), func(_ string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && entry.Name() == "testdata" {
				return fs.SkipDir
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// chain draws how the program comes to import what it must not.
func (s packageSet) chain(from, to string) string {
	path := s.path(module+"/cmd/prismflow", from)
	if path == nil { // no part of the program, or only its tests import it
		path = []string{from}
	}
	drawn := strings.Join(append(path, to), " → ")
	return strings.ReplaceAll(drawn, module+"/", "")
}

// path is a shortest way along imports, or nil.
func (s packageSet) path(from, to string) []string {
	queue := [][]string{{from}}
	seen := map[string]bool{from: true}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		last := path[len(path)-1]
		if last == to {
			return path
		}
		for _, next := range s[last].Imports {
			if _, ours := s[next]; ours && !seen[next] {
				seen[next] = true
				queue = append(queue, append(slices.Clone(path), next))
			}
		}
	}
	return nil
}

func TestForbidden(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"cmd/prismflow", module + "/model/gotorch", false},
		{"pipelines", module + "/stages", false},
		{"pipelines", module + "/artifacts", true},
		{"stages/train", module + "/model/prism", false},
		{"stages/train", module + "/pipelines", true},
		{"model/prism", module + "/model/gotorch", false},
		{"model/prism", module + "/artifacts/table", true},
		{"artifacts/disk", module + "/dag", true},
		{"dag", "context", false},
		{"dag", "github.com/apache/arrow/go/v17/arrow", true},
		{"artifacts/table", "github.com/apache/arrow/go/v17/arrow", false},
		{"model/gotorchx", "github.com/ebitengine/purego", true},
		{"unknown", module + "/dag", true},
	} {
		if got := forbidden(module+"/"+tt.from, tt.to, arrows[folder(tt.from)]); (got != "") != tt.want {
			t.Errorf("%s → %s: %q, want forbidden %v", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestChain(t *testing.T) {
	main, stage, model := module+"/cmd/prismflow", module+"/stages/train", module+"/model/prism"
	packages := packageSet{
		main:  {ImportPath: main, Imports: []string{"context", stage}},
		stage: {ImportPath: stage, Imports: []string{model}},
		model: {ImportPath: model},
	}
	got := packages.chain(model, module+"/artifacts")
	if want := "cmd/prismflow → stages/train → model/prism → artifacts"; got != want {
		t.Errorf("chain %s, want %s", got, want)
	}
	if got := packages.chain(module+"/dag", model); got != "dag → model/prism" {
		t.Errorf("chain without the program: %s", got)
	}
}

func TestBelow(t *testing.T) {
	for _, tt := range []struct {
		layer, other string
		want         bool
	}{
		{"pipelines", "artifacts", true},
		{"stages", "pipelines", false},
		{"model", "artifacts", false},
	} {
		if got := slices.Contains(below(tt.layer), tt.other); got != tt.want {
			t.Errorf("tests of %s may import %s: %v, want %v", tt.layer, tt.other, got, tt.want)
		}
	}
}
