package pipelines

import (
	"embed"
	"io/fs"
	"slices"
)

//go:embed *.toml bench/*.toml
var shipped embed.FS

// Embedded is the text of a shipped pipeline, such as demo.toml or
// bench/beauty_sasrec_ce.toml.
func Embedded(name string) ([]byte, bool) {
	data, err := shipped.ReadFile(name)
	return data, err == nil
}

// EmbeddedNames are the file names of the shipped pipelines, sorted, with the
// directories that they are in.
func EmbeddedNames() []string {
	var names []string
	for _, pattern := range []string{"*.toml", "*/*.toml"} {
		matches, err := fs.Glob(shipped, pattern)
		if err != nil {
			return nil // both patterns are well-formed
		}
		names = append(names, matches...)
	}
	slices.Sort(names)
	return names
}
