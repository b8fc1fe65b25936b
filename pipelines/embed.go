package pipelines

import (
	"embed"
	"path"
)

//go:embed *.toml
var shipped embed.FS

// Embedded is the text of a shipped pipeline, such as demo.toml.
func Embedded(name string) ([]byte, bool) {
	if path.Base(name) != name {
		return nil, false
	}
	data, err := shipped.ReadFile(name)
	return data, err == nil
}

// EmbeddedNames are the file names of the shipped pipelines, sorted.
func EmbeddedNames() []string {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		return nil // an embedded directory can be read
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}
