package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/pipelines"
)

// path is an argument as an absolute path.
func (s *streams) path(argument string) string {
	if filepath.IsAbs(argument) {
		return filepath.Clean(argument)
	}
	return filepath.Join(s.dir, argument)
}

// relativeTo shortens paths below dir, as the user wrote or would write them.
func relativeTo(dir, path string) string {
	relative, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(relative) {
		return path
	}
	return relative
}

// outDir is where a pipeline's files for people are.
func outDir(pipeline *pipelines.Pipeline, o *pipelineOptions, s *streams) string {
	if o.out != "" {
		return filepath.Join(s.path(o.out), pipeline.Name)
	}
	return filepath.Join(pipeline.Dir, "out", pipeline.Name)
}

// openStore opens the cache that the flag, the environment, the pipeline, the
// user's settings or nobody names.
func openStore(flag, ofPipeline string, s *streams) (*disk.Store, error) {
	dir, err := cacheDir(flag, ofPipeline, s)
	if err != nil {
		return nil, err
	}
	store, err := disk.Open(dir, disk.Options{Now: s.now})
	if err != nil {
		return nil, cacheError{fmt.Errorf("opening the cache %s (--cache DIR or $PRISMFLOW_CACHE move it): %w", dir, err)}
	}
	return store, nil
}

func cacheDir(flag, ofPipeline string, s *streams) (string, error) {
	switch fromEnv := s.env("PRISMFLOW_CACHE"); {
	case flag != "":
		return s.path(flag), nil
	case fromEnv != "":
		return s.path(fromEnv), nil
	case ofPipeline != "":
		return ofPipeline, nil
	}
	settings, err := readSettings(s)
	if err != nil || settings.Cache.Dir != "" {
		return settings.Cache.Dir, err
	}
	return userCacheDir()
}

// userCacheDir is where what has no other place is cached.
func userCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", cacheError{fmt.Errorf("finding the user's cache directory (give --cache DIR or set PRISMFLOW_CACHE): %w", err)}
	}
	return filepath.Join(dir, "prismflow"), nil
}

// torchOptions say where libtorch is looked for. The compiled shim belongs to
// this machine, so it is not in the cache, which may be shared.
func torchOptions(dir string, s *streams) (gotorch.Options, error) {
	cache, err := userCacheDir()
	if err != nil {
		return gotorch.Options{}, err
	}
	return gotorch.Options{Dir: dir, CacheDir: filepath.Join(cache, "torch"), Getenv: s.env}, nil
}
