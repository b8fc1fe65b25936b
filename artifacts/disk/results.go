package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/artifacts"
)

// A Result is a result that a store holds, as lists tell it.
type Result struct {
	Key         artifacts.Key // of its action
	Used        time.Time     // last, within a minute
	Manifest    artifacts.Manifest
	Files       []artifacts.OutputFile // all of its blobs, the manifest among them
	Signed      bool                   // somebody signed the manifest; whether that is believed is not looked at
	Alternative bool                   // it differs from the one that stands under its manifest's key
	Foreign     bool                   // it is of another program, as Bazel's at a cache server, and has no manifest
	Damaged     error                  // what is wrong; the manifest may then be zero
}

// EachResult calls visit for every result in the store, once at a time and in no
// order. It reads their manifests, on all processors, and of other blobs only
// whether they are there. It is no use of them. The first error of visit ends it.
func (s *Store) EachResult(ctx context.Context, visit func(Result) error) error {
	var mu sync.Mutex // held during visit
	workers := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(runtime.GOMAXPROCS(0))
	err := eachFile(ctx, s.path("ac"), func(name string, info fs.FileInfo) error {
		workers.Go(func(ctx context.Context) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			for _, result := range s.resultsOf(ctx, artifacts.Key(name), info) {
				mu.Lock()
				err := visit(result)
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return nil
		})
		return nil
	})
	if failure := workers.Wait(); failure != nil {
		return failure
	}
	return err
}

// resultsOf are the results that an action names, whose file was seen: one, or
// several alternatives. There is none when it is collected meanwhile.
func (s *Store) resultsOf(ctx context.Context, k artifacts.Key, seen fs.FileInfo) (results []Result) {
	file, damaged := s.settled(k, seen, func() error {
		results = s.readResults(ctx, k, seen.ModTime())
		for _, r := range results {
			if r.Damaged != nil {
				return r.Damaged
			}
		}
		return nil
	})
	if file == nil && damaged == nil {
		return nil
	}
	return results
}

func (s *Store) readResults(ctx context.Context, k artifacts.Key, used time.Time) []Result {
	encoded, _, err := readAction(s.actionPath(k))
	var action artifacts.ActionResult
	if err == nil {
		action, err = artifacts.DecodeActionResult(encoded)
	}
	if err != nil {
		return []Result{{Key: k, Used: used, Damaged: err}}
	}
	if !slices.ContainsFunc(action.OutputFiles, isManifest) {
		return []Result{{Key: k, Used: used, Files: action.OutputFiles, Foreign: true}}
	}
	var results []Result
	for _, files := range byResult(action) {
		r := Result{Key: k, Used: used, Files: files}
		s.complete(ctx, &r)
		results = append(results, r)
	}
	return results
}

func isManifest(f artifacts.OutputFile) bool { return path.Base(f.Path) == artifacts.ManifestPath }

// byResult sorts an action's files by the results that they belong to: those of
// an alternative have a directory of their own (see artifacts.Alternatives).
func byResult(action artifacts.ActionResult) [][]artifacts.OutputFile {
	var all [][]artifacts.OutputFile
	at := map[string]int{}
	for _, f := range action.OutputFiles {
		dir := path.Dir(f.Path)
		i, known := at[dir]
		if !known {
			i = len(all)
			at[dir] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], f)
	}
	return all
}

// complete fills in what the files of a result say.
func (s *Store) complete(ctx context.Context, r *Result) {
	var manifest artifacts.OutputFile
	for _, f := range r.Files {
		switch path.Base(f.Path) {
		case artifacts.ManifestPath:
			manifest = f
		case artifacts.SignaturePath:
			r.Signed = true
		}
		r.Alternative = strings.Contains(f.Path, "/")
	}
	if manifest.Path == "" {
		r.Damaged = fmt.Errorf("it names no %s", artifacts.ManifestPath)
		return
	}
	if r.Manifest, r.Damaged = s.readManifest(ctx, manifest); r.Damaged != nil {
		return
	}
	switch {
	case r.Alternative: // its files have other names, and nobody looks it up
	case r.Manifest.Key != r.Key:
		r.Damaged = fmt.Errorf("its manifest is that of %s", r.Manifest.Key.Short())
		return
	case !r.Manifest.Agrees(artifacts.ActionResult{OutputFiles: r.Files}):
		r.Damaged = errors.New("it does not name the outputs of its manifest and those alone")
		return
	}
	for _, f := range r.Files {
		if err := s.has(ctx, f); err != nil {
			r.Damaged = err
			return
		}
	}
}

// maxManifest is the most bytes that are read of a manifest.
const maxManifest = 16 << 20

func (s *Store) readManifest(ctx context.Context, f artifacts.OutputFile) (artifacts.Manifest, error) {
	if f.Bytes > maxManifest {
		return artifacts.Manifest{}, fmt.Errorf("%s: %d bytes where at most %d are believed", f.Path, f.Bytes, maxManifest)
	}
	r, err := s.Get(ctx, f.Digest)
	if err != nil {
		return artifacts.Manifest{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	defer r.Close()
	encoded := bytes.NewBuffer(make([]byte, 0, f.Bytes+bytes.MinRead))
	if _, err := encoded.ReadFrom(io.LimitReader(r, maxManifest+1)); err != nil {
		return artifacts.Manifest{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	return artifacts.DecodeManifest(encoded.Bytes())
}

// has says what is wrong with a file of an action, by its size alone.
func (s *Store) has(ctx context.Context, f artifacts.OutputFile) error {
	size, err := s.Stat(ctx, f.Digest)
	if err == nil && size != f.Bytes {
		err = fmt.Errorf("blob %s has %d bytes and not %d", f.Digest.Short(), size, f.Bytes)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}
