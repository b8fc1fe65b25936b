package pipelines

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// A Pipeline is a pipeline file that was found right, with its parameters
// filled in.
type Pipeline struct {
	Name        string // of the file when it gives none
	Description string
	Path        string // of the file, absolute; of an embedded pipeline "embedded:demo.toml"
	Dir         string // absolute: what its paths are relative to and where out/ belongs
	Params      []Parameter
	Cache       CacheConfig
	Stages      []stages.Spec // in the order of the file
	Warnings    []Diagnostic
}

// CacheConfig is the [cache] table.
type CacheConfig struct {
	Dir     string   // absolute; empty for the default place
	Remotes []string // URLs in the order in which they are asked
}

// Options are what a pipeline file is read with.
type Options struct {
	Registry stages.Registry
	Params   map[string]string // what the caller gives for parameters, as text
	WorkDir  string            // what the path given to Load and those in Params are relative to; empty for the process's own

	LookupEnv func(string) (string, bool)
}

// EmbeddedPrefix before a shipped pipeline's file name makes a path for Load.
const EmbeddedPrefix = "embedded:"

// Load reads and checks a pipeline file. The error is an *Invalid when the file
// was read and is wrong.
func Load(path string, opts Options) (*Pipeline, error) {
	workDir, err := filepath.Abs(opts.WorkDir)
	if err != nil {
		return nil, fmt.Errorf("finding the current directory: %w", err)
	}
	c := &checker{opts: opts, workDir: workDir, path: path, dir: workDir}
	var data []byte
	if name, ok := strings.CutPrefix(path, EmbeddedPrefix); ok {
		if data, ok = Embedded(name); !ok {
			return nil, fmt.Errorf("there is no embedded pipeline %s%s", name, stages.Suggest(name, EmbeddedNames()))
		}
	} else {
		if !filepath.IsAbs(path) {
			c.path = filepath.Join(workDir, path)
		}
		c.dir = filepath.Dir(c.path)
		if data, err = readFile(c.path); err != nil {
			return nil, err
		}
	}
	doc, diagnostics := readDocument(path, data)
	if doc == nil {
		return nil, &Invalid{Path: path, Diagnostics: sortDiagnostics(diagnostics)}
	}
	c.doc = doc
	return c.check()
}

// readFile reads what a pipeline file may hold and one byte more.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a pipeline: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading a pipeline: %w", err)
	}
	return data, nil
}

var (
	namePattern     = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	pipelinePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)
)

// nameOf is the name of a pipeline that gives none: its file's, with _ for what
// a name cannot have.
func nameOf(path string) string {
	base := filepath.Base(strings.TrimPrefix(path, EmbeddedPrefix))
	base = strings.TrimSuffix(base, filepath.Ext(base))
	name := regexp.MustCompile(`[^A-Za-z0-9_.-]`).ReplaceAllString(base, "_")
	if !pipelinePattern.MatchString(name) {
		return "pipeline"
	}
	return name
}
