package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote/cloud"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/kinds"
)

// pipelineOptions are the flags of every command that reads a pipeline.
type pipelineOptions struct {
	params  []string
	cache   string
	out     string
	offline bool
	refresh bool
	stale   bool // of a command that shows results: the last ones, whatever the parameters

	remotes []string        // URLs of --remote
	sharing *sharingOptions // of a command that asks remotes; nil for others
}

func (o *pipelineOptions) register(cmd *cobra.Command) {
	registerParam(cmd, o)
	flags := cmd.Flags()
	flags.StringVar(&o.out, "out", "", "put the files for people below `DIR` instead of out/ beside the pipeline file")
	registerOffline(cmd, &o.offline)
	registerCache(cmd, &o.cache)
}

// registerShared is register for a command that asks remotes.
func (o *pipelineOptions) registerShared(cmd *cobra.Command) {
	o.register(cmd)
	registerRemote(cmd, &o.remotes)
	o.sharing = &sharingOptions{}
}

func registerOffline(cmd *cobra.Command, offline *bool) {
	cmd.Flags().BoolVar(offline, "offline", false, "ask no URL and no remote; what was downloaded before serves")
}

func registerParam(cmd *cobra.Command, o *pipelineOptions) {
	cmd.Flags().StringArrayVarP(&o.params, "param", "p", nil, "set a parameter of the pipeline: `key=value` (repeatable)")
	completeFlag(cmd, "param", completeParams)
}

func registerCache(cmd *cobra.Command, cache *string) {
	cmd.Flags().StringVar(cache, "cache", "", "cache `DIR` (default $PRISMFLOW_CACHE, [cache] dir of the pipeline or of your settings, or prismflow in the user's cache directory)")
}

// overrides are the parameters that -p sets.
func (o *pipelineOptions) overrides() (map[string]string, error) {
	params := map[string]string{}
	for _, param := range o.params {
		name, value, ok := strings.Cut(param, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("-p %s: write key=value", param)}
		}
		params[name] = value
	}
	return params, nil
}

// loadPipeline reads and checks a pipeline.
func loadPipeline(argument string, o *pipelineOptions, s *streams) (*pipelines.Pipeline, error) {
	params, err := o.overrides()
	if err != nil {
		return nil, err
	}
	known, err := kinds.All()
	if err != nil {
		return nil, err
	}
	path, err := findPipeline(argument, s)
	if err != nil {
		return nil, err
	}
	pipeline, err := pipelines.Load(path, pipelines.Options{Registry: known, Params: params, WorkDir: s.dir, LookupEnv: s.lookupEnv})
	if err != nil {
		return nil, err
	}
	for _, warning := range pipeline.Warnings {
		s.err.printf("%s\n", warning)
	}
	return pipeline, nil
}

// findPipeline is what pipelines.Load reads for an argument: a file, or a
// pipeline that comes with the program when there is no such file.
func findPipeline(argument string, s *streams) (string, error) {
	path := s.path(argument)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return "", usageError{fmt.Errorf("%s is a directory; name the pipeline file in it", argument)}
	case err == nil:
		return relativeTo(s.dir, path), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", usageError{fmt.Errorf("reading the pipeline: %w", err)}
	}
	for _, name := range []string{argument, argument + ".toml"} {
		if _, ok := pipelines.Embedded(name); ok {
			return pipelines.EmbeddedPrefix + name, nil
		}
	}
	hint := stages.Suggest(strings.TrimSuffix(argument, ".toml"), shippedNames())
	return "", usageError{fmt.Errorf("there is no file %s%s; these come with the program: %s", argument, hint, strings.Join(shippedNames(), ", "))}
}

// A workspace is a pipeline and the cache that its results are in.
type workspace struct {
	pipeline *pipelines.Pipeline
	argument string   // what the user called the pipeline
	given    []string // parameters of the command line
	out      string
	store    *disk.Store
	sharing  sharing
	engine   *engine.Engine

	exact     bool              // whether results are those of the parameters, not just the newest
	warn      stream            // where a command that shows results says what it is not sure of
	protocols map[string]string // by evaluating stage: how it measured
}

// openWorkspace loads a pipeline and opens the cache. The caller closes it.
func openWorkspace(argument string, o *pipelineOptions, s *streams) (*workspace, error) {
	pipeline, err := loadPipeline(argument, o, s)
	if err != nil {
		return nil, err
	}
	store, err := openStore(o.cache, pipeline.Cache.Dir, s)
	if err != nil {
		return nil, err
	}
	w := &workspace{pipeline: pipeline, argument: argument, given: o.params, out: outDir(pipeline, o, s), store: store}
	if err := w.openSharing(o, s); err != nil {
		return nil, errors.Join(err, w.close())
	}
	config, err := engineConfig(w, o, s)
	if err == nil {
		w.engine, err = engine.New(config, pipeline.Stages)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// engineConfig is where a workspace's engine works and on whose behalf.
func engineConfig(w *workspace, o *pipelineOptions, s *streams) (engine.Config, error) {
	torch, err := torchOptions("", s)
	user, host := identity(s)
	config := engine.Config{
		Pipeline: w.pipeline.Name, Path: w.pipeline.Path, Out: w.out,
		Store: w.store, Torch: torch, LookupEnv: s.lookupEnv, Client: http.DefaultClient, Schemes: bucketSchemes(s),
		Refresh: o.refresh, Offline: o.offline,
		User: user, Host: host, Params: recordedParams(w.pipeline), Versions: versions(), Clock: s.now,
		Signer: w.sharing.circle.signer(),
	}
	if w.sharing.cache != nil {
		config.Remotes = w.sharing.cache
	}
	return config, err
}

// openSharing opens the remotes that the command asks, if it asks any.
func (w *workspace) openSharing(o *pipelineOptions, s *streams) error {
	settings, err := readSettings(s)
	if err != nil {
		return err
	}
	circle, err := settings.circle(w.pipeline, s)
	if err != nil {
		return err
	}
	w.sharing.circle = circle
	if o.sharing == nil || o.offline {
		return nil
	}
	chosen, err := chooseRemotes(o.remotes, w.pipeline, settings, s)
	if err != nil {
		return err
	}
	return w.sharing.open(chosen, *o.sharing, w.store, s)
}

// bucketSchemes let sources be objects in buckets.
func bucketSchemes(s *streams) engine.Schemes {
	transport := cloud.NewTransport(cloud.Options{LookupEnv: s.lookupEnv})
	schemes := engine.Schemes{}
	for _, scheme := range cloud.Schemes() {
		schemes[scheme] = transport
	}
	return schemes
}

func (w *workspace) close() error {
	w.sharing.close()
	if err := w.store.Close(); err != nil {
		return cacheError{fmt.Errorf("closing the cache: %w", err)}
	}
	return nil
}

// closing closes the workspace at the end of a command and keeps the command's
// own error if it has one.
func (w *workspace) closing(err *error) {
	if closeErr := w.close(); *err == nil {
		*err = closeErr
	}
}

// command is a command line about the pipeline as it was run.
func (w *workspace) command(verb string, args ...string) string {
	words := []string{"prismflow", verb, shellWord(w.argument)}
	words = append(words, args...)
	for _, param := range w.given {
		words = append(words, "-p", shellWord(param))
	}
	return strings.Join(words, " ")
}

// recordedParams are a pipeline's parameters as a record has them: URLs without
// what may be a credential.
func recordedParams(pipeline *pipelines.Pipeline) map[string]any {
	params := map[string]any{}
	for _, param := range pipeline.Params {
		params[param.Name] = withoutCredentials(param.Value)
	}
	return params
}

func withoutCredentials(value any) any {
	switch v := value.(type) {
	case string:
		if strings.Contains(v, "://") {
			return stages.PublicURL(v)
		}
	case []any:
		public := make([]any, len(v))
		for i, element := range v {
			public[i] = withoutCredentials(element)
		}
		return public
	}
	return value
}

// identity is who runs the program, for the records of results.
func identity(s *streams) (user, host string) {
	for _, name := range []string{"USER", "LOGNAME"} {
		if user = s.env(name); user != "" {
			break
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "" // a record without a host is still a record
	}
	return user, host
}
