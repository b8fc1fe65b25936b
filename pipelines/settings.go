package pipelines

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Settings are what a user sets for all pipelines, in a file of their own.
type Settings struct {
	Cache CacheConfig
}

// LoadSettings reads the user's settings, a TOML file with the table [cache]. No
// such file is no settings. The error is an *Invalid when the file was read and
// is wrong.
func LoadSettings(path string) (Settings, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Settings{}, fmt.Errorf("finding the current directory: %w", err)
	}
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, fmt.Errorf("reading the settings (PRISMFLOW_CONFIG says where they are): %w", err)
	}
	at := place{file: path, path: path, dir: filepath.Dir(path)}
	l := &loader{}
	doc := l.parse(at, data)
	if doc == nil {
		return Settings{}, &Invalid{Path: path, Diagnostics: sortDiagnostics(l.diagnostics, []string{path})}
	}
	c := &checker{
		place: at, workDir: at.dir, isSettings: true, params: map[string]*parameter{},
		doc: &merged{files: l.files, root: doc.root, values: doc.values},
	}
	return c.checkSettings()
}

func (c *checker) checkSettings() (Settings, error) {
	var s Settings
	for _, n := range c.doc.root.order {
		if n.name != "cache" {
			c.errorAt(n.key, "unknown key %q%s; settings have the table [cache]", clip(n.name), c.suggest(n.name, []string{"cache"}))
			continue
		}
		s.Cache = c.readCache()
	}
	if hasError(c.diagnostics) {
		return Settings{}, c.invalid()
	}
	return s, nil
}
