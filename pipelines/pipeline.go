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
	Stages      []stages.Spec // in the order of the file, those of included files first
	Warnings    []Diagnostic
}

// CacheConfig is the [cache] table of a pipeline file or of the user's settings.
type CacheConfig struct {
	Dir     string   // absolute; empty for the default place
	Remotes []Remote // in the order in which they are asked
	Trusted []string // whose results are believed: a name, a space, a public key
	Sign    *bool    // of settings: whether results are signed; nil if there is a key to sign with
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

// Load reads and checks a pipeline file with all that it includes. The error is
// an *Invalid when the file was read and is wrong.
func Load(path string, opts Options) (*Pipeline, error) {
	c, err := newChecker(path, opts)
	if err != nil {
		return nil, err
	}
	return c.check()
}

// LoadKinds reads the kinds that a file and what it includes define, beside
// those of the options' registry. The file need not be a whole pipeline: what
// else is in it is not looked at. The error is as Load's.
func LoadKinds(path string, opts Options) (stages.Registry, error) {
	c, err := newChecker(path, opts)
	if err != nil {
		return stages.Registry{}, err
	}
	c.readParams()
	c.readKinds()
	if hasError(c.diagnostics) {
		return stages.Registry{}, c.invalid()
	}
	return c.registry, nil
}

// newChecker reads the files.
func newChecker(path string, opts Options) (*checker, error) {
	workDir, err := filepath.Abs(opts.WorkDir)
	if err != nil {
		return nil, fmt.Errorf("finding the current directory: %w", err)
	}
	at := place{file: path, path: path, dir: workDir}
	if !at.isEmbedded() {
		if !filepath.IsAbs(path) {
			at.path = filepath.Join(workDir, path)
		}
		at.dir = filepath.Dir(at.path)
	}
	l := &loader{workDir: workDir, read: readPlace}
	doc, err := l.load(at)
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, &Invalid{Path: path, Diagnostics: sortDiagnostics(l.diagnostics, l.files.names())}
	}
	return &checker{opts: opts, place: at, workDir: workDir, doc: doc, registry: opts.Registry}, nil
}

// readFile reads a pipeline file.
func readFile(path string) ([]byte, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("reading a pipeline: %w", err)
	}
	return data, nil
}

// readBounded reads what a file of ours may hold and one byte more.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
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
