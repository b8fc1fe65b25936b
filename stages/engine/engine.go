package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/stages"
)

// Config is where an engine works and on whose behalf.
type Config struct {
	Pipeline string // its name
	Path     string // the pipeline file: what the history of runs goes by
	Out      string // directory for the files that people look at: <Out>/<stage>/<output>.arrow; empty for none

	Store     *disk.Store
	Remotes   Remotes // behind the store; nil for none. A run ends them
	Torch     gotorch.Options
	LookupEnv func(string) (string, bool)
	Client    *http.Client // for sources that are URLs; it needs no Timeout: a server that stalls is given up
	Schemes   Schemes      // of sources beside http and https
	Refresh   bool         // ask URLs again although they are at hand
	Offline   bool         // ask no URL and no remote

	Signer artifacts.Signer // of what is computed here; nil signs nothing

	User, Host string
	Params     map[string]any    // of the pipeline, for the record of a run; without credentials
	Versions   map[string]string // of the program, recorded as provenance
	Clock      func() time.Time
}

// Schemes are the schemes of sources such as s3://bucket/name, and who gets them as a
// web server's files are got: by range, with an ETag for each version. They see
// no request that a web server redirects, lest it points their credentials at
// something.
type Schemes map[string]http.RoundTripper

// of is who gets what url names, or nil.
func (s Schemes) of(url string) http.RoundTripper {
	scheme, _, isURL := strings.Cut(url, "://")
	if !isURL {
		return nil
	}
	return s[scheme]
}

// An Engine runs one pipeline. Its methods are not to be called at once.
type Engine struct {
	config  Config
	specs   []stages.Spec
	graph   *dag.Graph // without tasks: for order and selection
	history history
}

// New checks how the stages are wired (see stages.CheckWiring) and makes an engine.
func New(config Config, specs []stages.Spec) (*Engine, error) {
	if problems := stages.CheckWiring(specs); len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = errors.New(p.String())
		}
		return nil, errors.Join(errs...)
	}
	nodes := make([]dag.Node, len(specs))
	for i, spec := range specs {
		nodes[i] = node(spec)
	}
	graph, err := dag.New(nodes)
	if err != nil {
		return nil, err
	}
	history, err := openHistory(config.Store.StateDir(), config.Path)
	if err != nil {
		return nil, err
	}
	return &Engine{config: config, specs: specs, graph: graph, history: history}, nil
}

// Graph is the pipeline's graph, for drawing.
func (e *Engine) Graph() *dag.Graph { return e.graph }

func node(spec stages.Spec) dag.Node {
	n := dag.Node{
		Name: spec.Name, Kind: spec.Kind,
		After: spec.Options.After, Uses: spec.Options.Uses,
		Timeout: spec.Options.Timeout, Retries: spec.Options.Retries,
	}
	seen := map[string]bool{}
	for _, input := range spec.Stage.Inputs() {
		if !seen[input.From.Stage] {
			seen[input.From.Stage] = true
			n.Needs = append(n.Needs, input.From.Stage)
		}
	}
	return n
}

// selected are the specs of the named stages and of all that they need, in
// declaration order; of all stages when none is named.
func (e *Engine) selected(names []string) ([]stages.Spec, error) {
	if len(names) == 0 {
		return e.specs, nil
	}
	graph, err := e.graph.Select(names...)
	if err != nil {
		return nil, err
	}
	in := map[string]bool{}
	for _, name := range graph.Order() {
		in[name] = true
	}
	var specs []stages.Spec
	for _, spec := range e.specs {
		if in[spec.Name] {
			specs = append(specs, spec)
		}
	}
	return specs, nil
}

func (e *Engine) spec(name string) (stages.Spec, error) {
	var names []string
	for _, spec := range e.specs {
		if spec.Name == name {
			return spec, nil
		}
		names = append(names, spec.Name)
	}
	return stages.Spec{}, fmt.Errorf("the pipeline has no stage %s%s", name, stages.Suggest(name, names))
}

// OutPath is where people find the newest result of an output.
func (e *Engine) OutPath(stage, output string, isTable bool) string {
	if isTable {
		output += ".arrow"
	}
	return filepath.Join(e.config.Out, stage, output)
}

// Output is the newest result of an output and the path of its verified bytes
// in the store.
func (e *Engine) Output(ctx context.Context, ref stages.Ref) (artifacts.Output, string, error) {
	spec, err := e.spec(ref.Stage)
	if err != nil {
		return artifacts.Output{}, "", err
	}
	ports := spec.Stage.Outputs()
	var names []string
	known := false
	for _, port := range ports {
		names = append(names, port.Name)
		known = known || port.Name == ref.Output
	}
	if !known {
		return artifacts.Output{}, "", fmt.Errorf("stage %s has no output %s%s", ref.Stage, ref.Output, stages.Suggest(ref.Output, names))
	}
	manifest, err := e.LastManifest(ctx, ref.Stage)
	if err != nil {
		return artifacts.Output{}, "", err
	}
	output := manifest.Outputs[ref.Output]
	path, err := e.config.Store.Verified(ctx, output.Digest)
	if err != nil {
		return artifacts.Output{}, "", fmt.Errorf("%s: its bytes are no longer in the cache; run the pipeline again: %w", ref, err)
	}
	return output, path, nil
}

// ErrNoResult says that a stage has no result yet.
var ErrNoResult = errors.New("no result yet: run the pipeline first")

// LastManifest is the manifest of the result that the stage's last run had.
func (e *Engine) LastManifest(ctx context.Context, stage string) (artifacts.Manifest, error) {
	if _, err := e.spec(stage); err != nil {
		return artifacts.Manifest{}, err
	}
	entry, ok := e.history.Stages[stage]
	if !ok {
		return artifacts.Manifest{}, fmt.Errorf("stage %s: %w", stage, ErrNoResult)
	}
	if entry.Manifest != nil {
		return *entry.Manifest, nil
	}
	manifest, err := artifacts.LookupManifest(ctx, e.config.Store, entry.Key)
	if err != nil {
		return artifacts.Manifest{}, fmt.Errorf("stage %s: its last result is no longer in the cache; run the pipeline again: %w", stage, err)
	}
	return manifest, nil
}
