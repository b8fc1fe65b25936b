package kinds

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/stages"
)

// module is this module's path and a slash.
const module = "github.com/prismflow/prismflow/"

// foundation are the packages that a kind's source closure ends at: what every
// stage stands on. README.md says what guards them instead.
var foundation = []string{"stages", "artifacts", "artifacts/table", "dag"}

// A source is what a kind's results depend on: the hash of each package, by its
// path in the module.
type source map[string]string

// kindSource is a kind's version beside its source.
type kindSource struct {
	version int
	source  source
}

// currentSources are those of all kinds, by name.
func currentSources(t *testing.T) map[string]kindSource {
	t.Helper()
	var paths []string
	for _, family := range families() {
		paths = append(paths, packageOf(t, family))
	}
	packages := listPackages(t, paths)
	current := map[string]kindSource{}
	for i, family := range families() {
		src := source{}
		packages.addClosure(t, paths[i], src)
		for _, kind := range family() {
			current[kind.Name] = kindSource{kind.Version, src}
		}
	}
	return current
}

// packageOf is the import path of the package that declares a Kinds function.
func packageOf(t *testing.T, kinds func() []stages.Kind) string {
	t.Helper()
	name := runtime.FuncForPC(reflect.ValueOf(kinds).Pointer()).Name()
	path, ok := strings.CutSuffix(name, ".Kinds")
	if !ok {
		t.Fatalf("%s is not the function Kinds of a package", name)
	}
	return path
}

// A goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	EmbedFiles []string
}

type packageSet map[string]goPackage

// listPackages lists packages and what they import, as they are built for one
// platform, so that a pin is the same wherever it is made.
func listPackages(t *testing.T, paths []string) packageSet {
	t.Helper()
	args := append([]string{"list", "-deps", "-json=ImportPath,Dir,Imports,EmbedFiles"}, paths...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
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
		case err == io.EOF:
			return packages
		case err != nil:
			t.Fatalf("reading the answer of go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

// addClosure hashes a package and those of this module that it reaches without
// passing through the foundation.
func (s packageSet) addClosure(t *testing.T, path string, to source) {
	t.Helper()
	short, ours := strings.CutPrefix(path, module)
	if _, done := to[short]; !ours || done || slices.Contains(foundation, short) {
		return
	}
	to[short] = s[path].hash(t)
	for _, imported := range s[path].Imports {
		s.addClosure(t, imported, to)
	}
}

// hash is that of the package's Go files, those for other platforms included,
// and of the files that it embeds.
func (p goPackage) hash(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Clone(p.EmbedFiles)
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".go") {
			data = code(data)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(data), data)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]) // it guards against forgetting, not against malice
}

// docTag is what documents a field in its tag.
var docTag = regexp.MustCompile(`\s*\bdoc:"(?:[^"\\]|\\.)*"`)

// code is a Go file as its tokens, so that comments, spaces and the
// documentation of fields do not count.
func code(file []byte) []byte {
	var out bytes.Buffer
	var s scanner.Scanner
	set := token.NewFileSet()
	s.Init(set.AddFile("", set.Base(), len(file)), file, nil, 0)
	for {
		_, tok, literal := s.Scan()
		if tok == token.EOF {
			return out.Bytes()
		}
		if tok == token.STRING && strings.HasPrefix(literal, "`") {
			literal = docTag.ReplaceAllString(literal, "")
		}
		fmt.Fprintf(&out, "%s %s\n", tok, literal)
	}
}

func TestCode(t *testing.T) {
	const before = "package p\n\n// F adds.\nfunc F(a int) int { return a + 1 }\n\ntype T struct {\n\tA int `stage:\"a\" doc:\"one \\\"a\\\"\"`\n}\n"
	for name, tt := range map[string]struct {
		after string
		same  bool
	}{
		"comment": {strings.Replace(before, "F adds.", "F adds one.", 1), true},
		"layout":  {strings.Replace(before, "{ return a + 1 }", "{\n\treturn a + 1\n}", 1), false}, // a line break ends a statement
		"space":   {strings.Replace(before, "\n\ntype", "\n\n\n\ntype", 1), true},
		"doc":     {strings.Replace(before, "one ", "the ", 1), true},
		"tag":     {strings.Replace(before, "stage:\"a\"", "stage:\"b\"", 1), false},
		"value":   {strings.Replace(before, "a + 1", "a + 2", 1), false},
	} {
		if got := bytes.Equal(code([]byte(before)), code([]byte(tt.after))); got != tt.same {
			t.Errorf("%s: same code is %v, want %v", name, got, tt.same)
		}
	}
}

// The closure of a family holds the package itself and not what every stage
// stands on.
func TestClosure(t *testing.T) {
	for name, k := range currentSources(t) {
		paths := slices.Sorted(maps.Keys(k.source))
		if len(paths) == 0 || !slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, "stages/") }) {
			t.Errorf("%s: its closure is %v, without a family", name, paths)
		}
		for _, path := range foundation {
			if _, ok := k.source[path]; ok {
				t.Errorf("%s: its closure holds %s", name, path)
			}
		}
	}
}
