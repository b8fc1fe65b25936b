package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages"
)

// errMissingInput says that a file which a stage names is not there.
var errMissingInput = errors.New("no such file")

// A nothingNamed is what is said of a glob or a directory that names no file.
type nothingNamed string

func (n nothingNamed) Error() string      { return string(n) }
func (nothingNamed) Is(target error) bool { return target == errMissingInput }

// A resolvedSource is the files that a source parameter names right now.
type resolvedSource struct {
	files  []stages.File
	stamps []disk.Stamp // how local files looked when they were hashed; zero for those in the store
}

// A sourceResolver finds, fetches and hashes the files that stages name.
type sourceResolver struct {
	store  *disk.Store
	hasher *disk.FileHasher
	urls   *urlCache
	hub    hub
}

func (s *sourceResolver) source(ctx context.Context, spec stages.SourceSpec, progress progress) (resolvedSource, error) {
	var r resolvedSource
	for _, pattern := range spec.Patterns {
		text := pattern.V.(string) // Bind let only strings through
		var err error
		switch {
		case s.urls.serves(text):
			err = s.addURL(ctx, &r, text, spec.SHA256, progress)
		case stages.IsHubModel(text):
			err = s.addHubModel(ctx, &r, text, spec, progress)
		default:
			err = s.addLocal(ctx, &r, text, pattern.Base, spec)
		}
		if err != nil {
			return r, err
		}
	}
	if spec.SHA256 == "" {
		return r, nil
	}
	for _, file := range r.files {
		if file.Digest.Hex() != spec.SHA256 {
			return r, fmt.Errorf("%s has sha256 %s, and the pipeline pins %s", file.Name, file.Digest.Hex(), spec.SHA256)
		}
	}
	return r, nil
}

func (s *sourceResolver) addURL(ctx context.Context, r *resolvedSource, url, pin string, progress progress) error {
	file, err := s.urls.file(ctx, url, pin, progress)
	if err == nil {
		r.addStored(file)
	}
	return err
}

func (s *sourceResolver) addHubModel(ctx context.Context, r *resolvedSource, text string, spec stages.SourceSpec, progress progress) error {
	if !spec.Directories || spec.Names != stages.NamesBelow {
		return fmt.Errorf("%s is a directory on a hub, and a file is wanted here", text)
	}
	model, err := stages.ParseHubModel(text)
	if err != nil {
		return err
	}
	files, err := s.hub.files(ctx, model, progress)
	r.addStored(files...)
	return err
}

// addStored adds files that are in the store, where nothing changes.
func (r *resolvedSource) addStored(files ...stages.File) {
	r.files = append(r.files, files...)
	r.stamps = append(r.stamps, make([]disk.Stamp, len(files))...)
}

func (s *sourceResolver) addLocal(ctx context.Context, r *resolvedSource, text, base string, spec stages.SourceSpec) error {
	paths, err := localPaths(text, base, spec)
	if err != nil {
		return err
	}
	for _, path := range paths {
		digest, stamp, err := s.hasher.Digest(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, errMissingInput)
		}
		if err != nil {
			return err
		}
		r.files = append(r.files, stages.File{Name: localName(path, text, base, spec), Path: path, Digest: digest})
		r.stamps = append(r.stamps, stamp)
	}
	return nil
}

// localName is what a file that text names is called.
func localName(path, text, base string, spec stages.SourceSpec) string {
	named := absolute(text, base)
	below := spec.Names == stages.NamesBelow
	switch {
	case spec.Names == stages.NamesKept:
		return relativeName(path, base)
	case below && path != named:
		return relativeName(path, named)
	case below:
		return filepath.Base(path)
	case path == named:
		return text
	}
	return beside(path, text, base)
}

// beside is what a file is called that a glob or a directory names: as if it had
// been written in its place, for many directories have a part-0.
func beside(path, text, base string) string {
	relative, err := filepath.Rel(base, path)
	if filepath.IsAbs(text) || err != nil {
		return path
	}
	return filepath.ToSlash(relative)
}

func absolute(path, base string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

// relativeName is a file's name that does not depend on where the project is:
// relative to base, or the last element of a path that leads out of it.
func relativeName(path, base string) string {
	relative, err := filepath.Rel(base, path)
	if err != nil || !filepath.IsLocal(relative) {
		return filepath.Base(path)
	}
	return filepath.ToSlash(relative)
}

// localPaths are the files that a path or a glob names, those of a glob or a
// directory sorted.
func localPaths(text, base string, spec stages.SourceSpec) ([]string, error) {
	path := absolute(text, base)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir() && spec.Parts:
		return filesBelow(path, isNoPart)
	case err == nil && info.IsDir() && spec.Directories:
		return filesBelow(path, func(string) bool { return false })
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory: name a file, or a glob such as %s", text, filepath.Join(text, "*.json.gz"))
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", text)
	case err == nil:
		return []string{path}, nil // also a file whose name has a * in it
	case !strings.ContainsAny(text, "*?["):
		return nil, fmt.Errorf("%s: %w", path, errMissingInput)
	}
	if !filepath.IsAbs(text) {
		path = filepath.Join(globEscaper.Replace(base), text)
	}
	paths, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	paths = slices.DeleteFunc(paths, func(p string) bool {
		info, err := os.Stat(p)
		return err != nil || !info.Mode().IsRegular()
	})
	if len(paths) == 0 {
		return nil, nothingNamed(absolute(text, base) + " matches nothing")
	}
	slices.Sort(paths)
	return paths, nil
}

// globEscaper lets the name of a project's directory stand for itself.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// isNoPart tells by its name what a directory of the parts of a table holds
// beside them: _SUCCESS, _delta_log, .part-0.parquet.crc.
func isNoPart(name string) bool { return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") }

// filesBelow are all regular files below dir, by path, but what is to be skipped
// by its name. Symbolic links below it are not followed, so that a directory
// cannot lead out of itself.
func filesBelow(dir string, skip func(name string) bool) ([]string, error) {
	var paths []string
	root := dir + string(filepath.Separator) // dir itself may be a link
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != root && skip(entry.Name()) && entry.IsDir():
			return fs.SkipDir
		case entry.Type().IsRegular() && !skip(entry.Name()):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = nothingNamed(dir + " has no files in it")
	}
	return paths, err
}

// changed names the first local file that no longer has the content that was
// hashed before the stage read it, or is empty.
func (s *sourceResolver) changed(sources map[string]resolvedSource) (string, error) {
	for _, source := range sources {
		for i, file := range source.files {
			if source.stamps[i] == (disk.Stamp{}) {
				continue // read from the store, where nothing changes
			}
			same, err := s.hasher.Unchanged(file.Path, source.stamps[i])
			if errors.Is(err, fs.ErrNotExist) {
				same, err = false, nil
			}
			if err != nil {
				return "", err
			}
			if !same {
				return file.Path, nil
			}
		}
	}
	return "", nil
}
